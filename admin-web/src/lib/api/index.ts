/** All calls to the control plane. Pages use these clients and nothing below them. */
import { ApiKeyService } from '$gen/bridge/admin/v1/api_key_pb';
import { AuditService } from '$gen/bridge/admin/v1/audit_pb';
import { AuthService } from '$gen/bridge/admin/v1/auth_pb';
import { ConfigService } from '$gen/bridge/admin/v1/config_pb';
import { FleetService } from '$gen/bridge/admin/v1/fleet_pb';
import { HealthService } from '$gen/bridge/admin/v1/health_pb';
import { ModelService } from '$gen/bridge/admin/v1/model_pb';
import { ProviderService } from '$gen/bridge/admin/v1/provider_pb';
import { RoutingService } from '$gen/bridge/admin/v1/routing_pb';
import { ServiceTokenService } from '$gen/bridge/admin/v1/service_token_pb';
import { SettingsService } from '$gen/bridge/admin/v1/settings_pb';
import { StatsService } from '$gen/bridge/admin/v1/stats_pb';
import { UserService } from '$gen/bridge/admin/v1/user_pb';
import { createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { authenticate } from './interceptor';
import { Session } from './session.svelte';

const baseUrl = new URL('.', location.href).href.replace(/\/$/, '');
const open = createGrpcWebTransport({ baseUrl });

export const session = new Session(open);

const transport = createGrpcWebTransport({ baseUrl, interceptors: [authenticate(session)] });

export const api = {
  /** Signing in needs no token. */
  open: createClient(AuthService, open),
  auth: createClient(AuthService, transport),
  apiKeys: createClient(ApiKeyService, transport),
  audit: createClient(AuditService, transport),
  config: createClient(ConfigService, transport),
  fleet: createClient(FleetService, transport),
  health: createClient(HealthService, transport),
  models: createClient(ModelService, transport),
  providers: createClient(ProviderService, transport),
  routing: createClient(RoutingService, transport),
  serviceTokens: createClient(ServiceTokenService, transport),
  settings: createClient(SettingsService, transport),
  stats: createClient(StatsService, transport),
  users: createClient(UserService, transport),
};
