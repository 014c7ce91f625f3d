/** All calls to the control plane by who is signed in. Pages use these clients and nothing below them. */
import { ApiKeyService } from '$gen/bridge/admin/v1/api_key_pb';
import { AuditService } from '$gen/bridge/admin/v1/audit_pb';
import { ConfigService } from '$gen/bridge/admin/v1/config_pb';
import { FleetService } from '$gen/bridge/admin/v1/fleet_pb';
import { HealthService } from '$gen/bridge/admin/v1/health_pb';
import { ModelService } from '$gen/bridge/admin/v1/model_pb';
import { PlaygroundService } from '$gen/bridge/admin/v1/playground_pb';
import { ProviderService } from '$gen/bridge/admin/v1/provider_pb';
import { RoutingService } from '$gen/bridge/admin/v1/routing_pb';
import { ServiceTokenService } from '$gen/bridge/admin/v1/service_token_pb';
import { SettingsService } from '$gen/bridge/admin/v1/settings_pb';
import { StatsService } from '$gen/bridge/admin/v1/stats_pb';
import { UserService } from '$gen/bridge/admin/v1/user_pb';
import { createClient } from '@connectrpc/connect';
import { door, session, transport } from './door';

export { session };

export const api = {
  auth: door.auth,
  apiKeys: createClient(ApiKeyService, transport),
  audit: createClient(AuditService, transport),
  config: createClient(ConfigService, transport),
  fleet: createClient(FleetService, transport),
  health: createClient(HealthService, transport),
  models: createClient(ModelService, transport),
  playground: createClient(PlaygroundService, transport),
  providers: createClient(ProviderService, transport),
  routing: createClient(RoutingService, transport),
  serviceTokens: createClient(ServiceTokenService, transport),
  settings: createClient(SettingsService, transport),
  stats: createClient(StatsService, transport),
  users: createClient(UserService, transport),
};
