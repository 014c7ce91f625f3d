//! Who may call what on the admin listener: one static table, deny by default.
//!
//! A method without a row does not answer at all. That a `user` reaches only what is
//! theirs is decided by the services, which know the owner of a thing; this table
//! says who gets as far as asking.

use crate::domain::service_token::{
    Action,
    Area::{
        self, ApiKeys, Audit, Config, Fleet, Health, Models, Operations, Providers, Routing, Settings, Stats,
        Users,
    },
    Scope,
};
use crate::domain::user::Role;

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// No token.
    Open,
    /// A token of any role, even while the password must be changed.
    BeforePasswordChange,
    /// A token of one of these roles.
    Only(&'static [Role]),
}

/// What a method asks of a service token, besides the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByToken {
    /// It is for people: passwords, sessions, and service tokens themselves.
    Never,
    /// No scope.
    Anyhow,
    Read(Area),
    Write(Area),
}

impl ByToken {
    /// The scope that is asked for, if it is one.
    pub(crate) fn scope(self) -> Option<Scope> {
        let (area, action) = match self {
            Self::Never | Self::Anyhow => return None,
            Self::Read(area) => (area, Action::Read),
            Self::Write(area) => (area, Action::Write),
        };
        Some(Scope { area, action })
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) access: Access,
    pub(crate) by_token: ByToken,
}

use Access::{BeforePasswordChange, Only, Open};
use ByToken::{Anyhow, Never, Read, Write};

const ANY: Access = Only(&[Role::Admin, Role::Operator, Role::Auditor, Role::User]);
const READ: Access = Only(&[Role::Admin, Role::Operator, Role::Auditor]);
const OPERATE: Access = Only(&[Role::Admin, Role::Operator]);
const ADMIN: Access = Only(&[Role::Admin]);
const ADMIN_READ: Access = Only(&[Role::Admin, Role::Auditor]);
/// Changes to things that have an owner: an auditor changes nothing, not even theirs.
const OWN: Access = Only(&[Role::Admin, Role::Operator, Role::User]);

const TABLE: &[(&str, Access, ByToken)] = &[
    ("/bridge.admin.v1.AuthService/GetSignInInfo", Open, Never),
    ("/bridge.admin.v1.AuthService/Login", Open, Never),
    ("/bridge.admin.v1.AuthService/Refresh", Open, Never),
    ("/bridge.admin.v1.AuthService/Logout", ANY, Never),
    ("/bridge.admin.v1.AuthService/GetMe", ANY, Never),
    (
        "/bridge.admin.v1.AuthService/ChangePassword",
        BeforePasswordChange,
        Never,
    ),
    ("/bridge.admin.v1.AuthService/ListSessions", ANY, Never),
    ("/bridge.admin.v1.AuthService/EndSession", ANY, Never),
    ("/bridge.admin.v1.UserService/ListUsers", ADMIN_READ, Read(Users)),
    ("/bridge.admin.v1.UserService/GetUser", ADMIN_READ, Read(Users)),
    ("/bridge.admin.v1.UserService/CreateUser", ADMIN, Write(Users)),
    ("/bridge.admin.v1.UserService/UpdateUser", ADMIN, Write(Users)),
    ("/bridge.admin.v1.UserService/DeleteUser", ADMIN, Write(Users)),
    ("/bridge.admin.v1.UserService/ResetPassword", ADMIN, Write(Users)),
    ("/bridge.admin.v1.ApiKeyService/ListApiKeys", ANY, Read(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/GetApiKey", ANY, Read(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/CreateApiKey", OWN, Write(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/UpdateApiKey", OWN, Write(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/DeleteApiKey", OWN, Write(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/RotateApiKey", OWN, Write(ApiKeys)),
    ("/bridge.admin.v1.ApiKeyService/RevokeApiKey", OWN, Write(ApiKeys)),
    (
        "/bridge.admin.v1.ProviderService/ListProviders",
        READ,
        Read(Providers),
    ),
    (
        "/bridge.admin.v1.ProviderService/GetProvider",
        READ,
        Read(Providers),
    ),
    (
        "/bridge.admin.v1.ProviderService/CreateProvider",
        OPERATE,
        Write(Providers),
    ),
    (
        "/bridge.admin.v1.ProviderService/UpdateProvider",
        OPERATE,
        Write(Providers),
    ),
    (
        "/bridge.admin.v1.ProviderService/DeleteProvider",
        OPERATE,
        Write(Providers),
    ),
    (
        "/bridge.admin.v1.ProviderService/TestProvider",
        OPERATE,
        Write(Providers),
    ),
    ("/bridge.admin.v1.ModelService/ListModelRules", READ, Read(Models)),
    ("/bridge.admin.v1.ModelService/GetModelRule", READ, Read(Models)),
    (
        "/bridge.admin.v1.ModelService/CreateModelRule",
        OPERATE,
        Write(Models),
    ),
    (
        "/bridge.admin.v1.ModelService/UpdateModelRule",
        OPERATE,
        Write(Models),
    ),
    (
        "/bridge.admin.v1.ModelService/DeleteModelRule",
        OPERATE,
        Write(Models),
    ),
    ("/bridge.admin.v1.ModelService/ListModels", READ, Read(Models)),
    (
        "/bridge.admin.v1.SettingsService/GetSettings",
        READ,
        Read(Settings),
    ),
    (
        "/bridge.admin.v1.SettingsService/UpdateSettings",
        OPERATE,
        Write(Settings),
    ),
    (
        "/bridge.admin.v1.SettingsService/GetServerInfo",
        READ,
        Read(Settings),
    ),
    (
        "/bridge.admin.v1.ServiceTokenService/ListServiceTokens",
        ADMIN_READ,
        Never,
    ),
    (
        "/bridge.admin.v1.ServiceTokenService/GetServiceToken",
        ADMIN_READ,
        Never,
    ),
    (
        "/bridge.admin.v1.ServiceTokenService/CreateServiceToken",
        ADMIN,
        Never,
    ),
    (
        "/bridge.admin.v1.ServiceTokenService/DeleteServiceToken",
        ADMIN,
        Never,
    ),
    ("/bridge.admin.v1.FleetService/ListNodes", READ, Read(Fleet)),
    ("/bridge.admin.v1.FleetService/WatchFleet", READ, Read(Fleet)),
    ("/bridge.admin.v1.FleetService/DrainNode", OPERATE, Write(Fleet)),
    ("/bridge.admin.v1.FleetService/RevokeNode", ADMIN, Write(Fleet)),
    ("/bridge.admin.v1.FleetService/ForgetNode", ADMIN, Write(Fleet)),
    (
        "/bridge.admin.v1.FleetService/CreateJoinToken",
        ADMIN,
        Write(Fleet),
    ),
    (
        "/bridge.admin.v1.FleetService/ListBreakerOverrides",
        READ,
        Read(Fleet),
    ),
    (
        "/bridge.admin.v1.FleetService/SetBreakerOverride",
        OPERATE,
        Write(Fleet),
    ),
    (
        "/bridge.admin.v1.FleetService/DeleteBreakerOverride",
        OPERATE,
        Write(Fleet),
    ),
    ("/bridge.admin.v1.HealthService/ListHealth", READ, Read(Health)),
    ("/bridge.admin.v1.HealthService/GetHealth", READ, Read(Health)),
    (
        "/bridge.admin.v1.HealthService/CheckHealth",
        OPERATE,
        Write(Health),
    ),
    ("/bridge.admin.v1.StatsService/GetSummary", ANY, Read(Stats)),
    ("/bridge.admin.v1.StatsService/GetTokenUsage", ANY, Read(Stats)),
    ("/bridge.admin.v1.StatsService/ListRequests", ANY, Read(Stats)),
    ("/bridge.admin.v1.StatsService/GetRequest", ANY, Read(Stats)),
    ("/bridge.admin.v1.PlaygroundService/ListTargets", ANY, Never),
    ("/bridge.admin.v1.PlaygroundService/SendMessage", OWN, Never),
    ("/bridge.admin.v1.RoutingService/Explain", READ, Read(Routing)),
    ("/bridge.admin.v1.ConfigService/ListRevisions", READ, Read(Config)),
    ("/bridge.admin.v1.ConfigService/Diff", READ, Read(Config)),
    ("/bridge.admin.v1.ConfigService/Rollback", OPERATE, Write(Config)),
    ("/bridge.admin.v1.ConfigService/Export", READ, Read(Config)),
    ("/bridge.admin.v1.ConfigService/Plan", READ, Read(Config)),
    ("/bridge.admin.v1.ConfigService/Apply", OPERATE, Write(Config)),
    (
        "/bridge.admin.v1.OperationsService/Backup",
        ADMIN,
        Write(Operations),
    ),
    (
        "/bridge.admin.v1.AuditService/ListEntries",
        ADMIN_READ,
        Read(Audit),
    ),
    (
        "/bridge.admin.v1.AuditService/ExportEntries",
        ADMIN_READ,
        Read(Audit),
    ),
    (
        "/bridge.admin.v1.AuditService/VerifyEntries",
        ADMIN_READ,
        Read(Audit),
    ),
    ("/grpc.health.v1.Health/Check", Open, Never),
    ("/grpc.health.v1.Health/Watch", Open, Never),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ANY,
        Anyhow,
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ANY,
        Anyhow,
    ),
];

/// What the method at this path asks; `None`: nobody may call it.
pub(crate) fn rule(path: &str) -> Option<Rule> {
    let row = TABLE.iter().find(|(method, _, _)| *method == path);
    row.map(|(_, access, by_token)| Rule {
        access: *access,
        by_token: *by_token,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    use super::*;

    const ADMIN_PACKAGE: &str = "bridge.admin.v1";

    fn methods_of_the_contract() -> BTreeSet<String> {
        let pool = DescriptorPool::decode(bridge_proto::FILE_DESCRIPTOR_SET).unwrap();
        pool.services()
            .filter(|service| service.package_name() == ADMIN_PACKAGE)
            .flat_map(|service| {
                service
                    .methods()
                    .map(|method| format!("/{}/{}", service.full_name(), method.name()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn rows() -> BTreeSet<String> {
        TABLE
            .iter()
            .map(|(method, _, _)| (*method).to_owned())
            .filter(|method| method.starts_with("/bridge."))
            .collect()
    }

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let methods = methods_of_the_contract();
        assert!(methods.len() >= 32, "only {} methods found", methods.len());
        assert_eq!(methods, rows());
    }

    #[test]
    fn no_method_has_two_rows() {
        let distinct: BTreeSet<_> = TABLE.iter().map(|(method, _, _)| method).collect();
        assert_eq!(distinct.len(), TABLE.len());
    }

    #[test]
    fn an_admin_may_call_everything_and_an_unknown_path_nobody() {
        for (method, access, _) in TABLE {
            let admits_admin = match access {
                Open | BeforePasswordChange => true,
                Only(roles) => roles.contains(&Role::Admin),
            };
            assert!(admits_admin, "{method}");
        }
        assert_eq!(rule("/bridge.admin.v1.AuthService/Nothing"), None);
        assert_eq!(rule("/bridge.fleet.v1.WatchService/Watch"), None);
    }

    /// `/bridge.admin.v1.ApiKeyService/GetApiKey` → `api_keys`.
    fn area_of(path: &str) -> String {
        let service = path.rsplit(['.', '/']).nth(1).unwrap();
        let words = service.strip_suffix("Service").unwrap();
        let snake = words.chars().enumerate().flat_map(|(at, c)| {
            let gap = (at > 0 && c.is_uppercase()).then_some('_');
            gap.into_iter().chain(c.to_lowercase())
        });
        snake.collect()
    }

    #[test]
    fn every_method_of_the_contract_asks_a_scope_of_its_own_area_or_is_for_people() {
        let for_people = ["auth", "playground", "service_token"];
        let mut asked = BTreeSet::new();
        for method in methods_of_the_contract() {
            let area = area_of(&method);
            let by_token = rule(&method).unwrap().by_token;
            let Some(scope) = by_token.scope() else {
                assert_eq!(by_token, Never, "{method}");
                assert!(for_people.contains(&area.as_str()), "{method}");
                continue;
            };
            let named = scope.area.as_str();
            assert!(
                named == area || named.strip_suffix('s') == Some(&area),
                "{method}: {named}"
            );
            asked.insert(scope.area);
        }
        assert_eq!(
            asked,
            Area::ALL.iter().copied().collect(),
            "an area that opens nothing"
        );
    }

    #[test]
    fn what_an_auditor_may_not_call_is_not_reading() {
        let is_read = |by_token| matches!(by_token, Read(_));
        for (method, access, by_token) in TABLE {
            let Only(roles) = access else { continue };
            if !roles.contains(&Role::Auditor) {
                assert!(!is_read(*by_token), "{method}");
            }
        }
    }
}
