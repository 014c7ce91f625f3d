#!/usr/bin/env bash
# The bridge set up by a script and taken down again, with a stock gRPC client and the schema that
# the control plane tells by reflection: sign in once for a service token, then user, provider,
# model rule and key, ask where a request would go, send it, revoke the key and wait until no data
# plane takes it any more.
#
#   ADMIN_URL=http://127.0.0.1:8001 BRIDGE_URL=http://127.0.0.1:8000 ADMIN_EMAIL=… ADMIN_PASSWORD=… \
#     UPSTREAM_URL=http://127.0.0.1:11434/v1 UPSTREAM_MODEL=qwen3 deploy/examples/automation.sh
#
# UPSTREAM_KEY is the upstream's, if it wants one. BUF names the client, buf, if it is not in the
# PATH. Secrets go through pipes and a file that only its owner reads: command lines are there for everybody.
set -euo pipefail
umask 077

: "${ADMIN_URL:?where the control plane listens for admins}" "${BRIDGE_URL:?where a data plane listens}"
: "${UPSTREAM_URL:?an upstream that speaks chat completions}" "${UPSTREAM_MODEL:?a model of it}"
: "${ADMIN_EMAIL:?}" "${ADMIN_PASSWORD:?}"
BUF=${BUF:-buf} name=script-$RANDOM$RANDOM model=$UPSTREAM_MODEL
schema=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../proto" && pwd)
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# call METHOD MESSAGE: with the token, if there is one yet; without one there is no reflection either.
call() {
  local from=(--schema "$schema")
  if [ -s "$headers" ]; then from=(--header "@$headers" --reflect-header "@$headers"); fi
  "$BUF" curl --protocol grpc --http2-prior-knowledge "${from[@]}" --data @- "$ADMIN_URL/bridge.admin.v1.$1" <<<"$2"
}
# field NAME: the first text of that name in an answer.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
speak_for() { echo "authorization: Bearer $1" >"$headers"; }
say() { echo "$name: $*"; }

# send KEY: a message by that key; prints the status.
send() {
  curl -sS --max-time 30 -o /dev/null -w '%{http_code}' -H @- -H 'content-type: application/json' \
    -d "$request" "$BRIDGE_URL/v1/messages" <<<"x-api-key: $1"
}
# until_status WANTED KEY: a change needs a moment to reach the data plane.
until_status() {
  local tries=100 status
  until status=$(send "$2") && [ "$status" = "$1" ]; do
    if [ $((tries -= 1)) -eq 0 ]; then
      echo "wanted $1, the last answer was $status" >&2
      return 1
    fi
    sleep 0.1
  done
}

# A person signs in for a token; the script needs no password after that.
person=$(call AuthService/Login "{\"email\":\"$ADMIN_EMAIL\",\"password\":\"$ADMIN_PASSWORD\"}" | field accessToken)
speak_for "$person"
made=$(call ServiceTokenService/CreateServiceToken "{\"name\":\"$name\",\"role\":\"ROLE_ADMIN\",
  \"scopes\":[\"users:write\",\"providers:write\",\"models:write\",\"api_keys:write\",\"routing:read\",\"config:read\"]}")
token_id=$(field id <<<"$made")
speak_for "$(field token <<<"$made")"
say "a service token"

user_id=$(call UserService/CreateUser "{\"email\":\"$name@example.com\",\"name\":\"$name\",\"role\":\"ROLE_USER\",
  \"password\":\"$(head -c 24 /dev/urandom | base64)\",\"mustChangePassword\":true}" | field id)
say "a user"
call ProviderService/CreateProvider "{\"provider\":{\"name\":\"$name\",\"enabled\":true,\"apiFormat\":\"API_FORMAT_OPENAI\",
  \"baseUrl\":\"$UPSTREAM_URL\",\"priority\":1000,\"models\":{\"small\":[\"$model\"]}},\"secrets\":{\"apiKey\":\"${UPSTREAM_KEY:-none}\"}}" >/dev/null
say "a provider"
call ModelService/CreateModelRule "{\"rule\":{\"match\":\"$name\",
  \"upstream\":{\"provider\":\"$name\",\"model\":\"$model\"}}}" >/dev/null
say "a model rule"
made=$(call ApiKeyService/CreateApiKey "{\"name\":\"$name\",\"ownerUserId\":\"$user_id\",\"allowedModels\":[\"$name\"]}")
key=$(field key <<<"$made") key_id=$(field id <<<"$made")
say "a key"

request="{\"model\":\"$name\",\"max_tokens\":16,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
until_status 200 "$key"
say "a message was answered"
escaped=${request//\"/\\\"}
call RoutingService/Explain "{\"body\":\"$escaped\",\"keyId\":\"$key_id\"}" | grep "\"$name\"" >/dev/null
say "it goes where it should"
call ConfigService/ListRevisions "{\"target\":\"provider/$name\"}" | grep "ProviderService.CreateProvider" >/dev/null
say "the history says who made the provider"

# Answers when every data plane has taken the revocation in; no message passes after that.
call ApiKeyService/RevokeApiKey "{\"id\":\"$key_id\",\"timeout\":\"10s\"}" | grep acknowledgedNodes >/dev/null
[ "$(send "$key")" = 401 ]
say "the key is revoked"

call ApiKeyService/DeleteApiKey "{\"id\":\"$key_id\"}" >/dev/null
call ProviderService/DeleteProvider "{\"name\":\"$name\",\"force\":true}" >/dev/null
call UserService/DeleteUser "{\"id\":\"$user_id\"}" >/dev/null
speak_for "$person"
call ServiceTokenService/DeleteServiceToken "{\"id\":\"$token_id\"}" >/dev/null
call AuthService/Logout '{}' >/dev/null
say "all of it is taken down again"
