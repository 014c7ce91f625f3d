// Each field that a form may send has a label: no toast shows a name of the contract.
import { ApiKeyService } from '$gen/bridge/admin/v1/api_key_pb';
import { AuthService } from '$gen/bridge/admin/v1/auth_pb';
import { FleetService } from '$gen/bridge/admin/v1/fleet_pb';
import { ModelService } from '$gen/bridge/admin/v1/model_pb';
import { ProviderService } from '$gen/bridge/admin/v1/provider_pb';
import { ServiceTokenService } from '$gen/bridge/admin/v1/service_token_pb';
import { SettingsService } from '$gen/bridge/admin/v1/settings_pb';
import { UserService } from '$gen/bridge/admin/v1/user_pb';
import { language, type Language } from '$lib/i18n/index.svelte';
import type { DescMessage } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fieldName, LABELS } from './fields';

vi.stubGlobal('document', { documentElement: {} });

const FORMS: readonly DescMessage[] = [
  AuthService.method.changePassword,
  UserService.method.createUser,
  UserService.method.updateUser,
  UserService.method.resetPassword,
  ApiKeyService.method.createApiKey,
  ApiKeyService.method.updateApiKey,
  ApiKeyService.method.rotateApiKey,
  ProviderService.method.createProvider,
  ProviderService.method.updateProvider,
  ModelService.method.createModelRule,
  ModelService.method.updateModelRule,
  SettingsService.method.updateSettings,
  ServiceTokenService.method.createServiceToken,
  FleetService.method.createJoinToken,
  FleetService.method.setBreakerOverride,
].map((it) => it.input);

/** What the pages put in by themselves, and what only the server says. */
const NOT_TYPED = new Set([
  'id',
  'revision',
  'update_mask',
  'idempotency_key',
  'must_change_password',
  'created_at',
  'updated_at',
  'last_used_at',
  'last_login_at',
  'display',
  'disabled_by',
  'is_dialect_guessed',
  'has_api_key',
  'api_key_hint',
  'custom_header_names',
  'used',
  'resets_at',
  'successor_id',
]);
/** Their fields are knobs, which the form shows by the names of the contract. */
const KNOBS = 'dialect_overrides';

/** The paths of what is typed in; a choice is refused by its own name. */
function pathsOf({ fields, oneofs }: DescMessage, before = ''): string[] {
  const below = fields
    .filter(({ name }) => !NOT_TYPED.has(name))
    .flatMap(({ name, message }) => {
      const isOurs = message !== undefined && message.typeName.startsWith('bridge.') && name !== KNOBS;
      return isOurs ? pathsOf(message, `${before}${name}.`) : [`${before}${name}`];
    });
  const choices = oneofs.filter(({ fields }) => fields.length > 1).map(({ name }) => `${before}${name}`);
  return [...below, ...choices];
}

/** Without the words of APIs that are the same in each language. */
function ownWords(label: string): string {
  return label.replace(/API|max_tokens|\?api_key=/g, '');
}

async function speak(choice: Language): Promise<void> {
  await language.choose(choice);
}

afterEach(() => speak('en'));

describe('the label of a field', () => {
  const paths = [...new Set(FORMS.flatMap((it) => pathsOf(it)))];

  it.each(paths)('%s', async (path) => {
    const english = fieldName(path);
    expect(ownWords(english)).not.toContain('_');
    expect(english).not.toBe(path);
    await speak('zh-CN');
    expect(ownWords(fieldName(path))).not.toMatch(/[A-Za-z]{2}/);
  });

  it('is of a field that is there', () => {
    const ends = Object.keys(LABELS).filter((end) => !paths.some((path) => `.${path}.`.includes(`.${end}.`)));
    expect(ends).toEqual([]);
  });
});

it.each([
  ['name', 'Name'],
  ['user.name', 'Name'],
  ['provider.base_url', 'Base URL'],
  ['rule.upstream.provider', 'Provider'],
  ['provider.models.big[1]', 'Models, Big #2'],
  ['settings.prices[0].model', 'Prices #1 Model'],
  ['limits.budgets[2].amount', 'Budgets #3 Amount'],
  ['secrets.custom_headers.host', 'Headers host'],
  ['provider.dialect_overrides.mid_system', 'Knobs mid_system'],
  ['nobody.knows[3].it', 'nobody.knows[3].it'],
])('%s is called %s', (path, name) => expect(fieldName(path)).toBe(name));
