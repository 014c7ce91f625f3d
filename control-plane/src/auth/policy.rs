//! Who may call what on the admin listener: one static table, deny by default.
//!
//! A method without a row does not answer at all. That a `user` reaches only what is
//! theirs is decided by the services, which know the owner of a thing; this table
//! says who gets as far as asking.

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

use Access::{BeforePasswordChange, Only, Open};

const ANY: Access = Only(&[Role::Admin, Role::Operator, Role::Auditor, Role::User]);
const READ: Access = Only(&[Role::Admin, Role::Operator, Role::Auditor]);
const OPERATE: Access = Only(&[Role::Admin, Role::Operator]);
const ADMIN: Access = Only(&[Role::Admin]);
const ADMIN_READ: Access = Only(&[Role::Admin, Role::Auditor]);
/// Changes to things that have an owner: an auditor changes nothing, not even theirs.
const OWN: Access = Only(&[Role::Admin, Role::Operator, Role::User]);

const TABLE: &[(&str, Access)] = &[
    ("/bridge.admin.v1.AuthService/GetSignInInfo", Open),
    ("/bridge.admin.v1.AuthService/Login", Open),
    ("/bridge.admin.v1.AuthService/Refresh", Open),
    ("/bridge.admin.v1.AuthService/Logout", ANY),
    ("/bridge.admin.v1.AuthService/GetMe", ANY),
    (
        "/bridge.admin.v1.AuthService/ChangePassword",
        BeforePasswordChange,
    ),
    ("/bridge.admin.v1.AuthService/ListSessions", ANY),
    ("/bridge.admin.v1.AuthService/EndSession", ANY),
    ("/bridge.admin.v1.UserService/ListUsers", ADMIN_READ),
    ("/bridge.admin.v1.UserService/GetUser", ADMIN_READ),
    ("/bridge.admin.v1.UserService/CreateUser", ADMIN),
    ("/bridge.admin.v1.UserService/UpdateUser", ADMIN),
    ("/bridge.admin.v1.UserService/DeleteUser", ADMIN),
    ("/bridge.admin.v1.UserService/ResetPassword", ADMIN),
    ("/bridge.admin.v1.ApiKeyService/ListApiKeys", ANY),
    ("/bridge.admin.v1.ApiKeyService/GetApiKey", ANY),
    ("/bridge.admin.v1.ApiKeyService/CreateApiKey", OWN),
    ("/bridge.admin.v1.ApiKeyService/UpdateApiKey", OWN),
    ("/bridge.admin.v1.ApiKeyService/DeleteApiKey", OWN),
    ("/bridge.admin.v1.ApiKeyService/RotateApiKey", OWN),
    ("/bridge.admin.v1.ApiKeyService/RevokeApiKey", OWN),
    ("/bridge.admin.v1.ProviderService/ListProviders", READ),
    ("/bridge.admin.v1.ProviderService/GetProvider", READ),
    ("/bridge.admin.v1.ProviderService/CreateProvider", OPERATE),
    ("/bridge.admin.v1.ProviderService/UpdateProvider", OPERATE),
    ("/bridge.admin.v1.ProviderService/DeleteProvider", OPERATE),
    ("/bridge.admin.v1.ProviderService/TestProvider", OPERATE),
    ("/bridge.admin.v1.ModelService/ListModelRules", READ),
    ("/bridge.admin.v1.ModelService/GetModelRule", READ),
    ("/bridge.admin.v1.ModelService/CreateModelRule", OPERATE),
    ("/bridge.admin.v1.ModelService/UpdateModelRule", OPERATE),
    ("/bridge.admin.v1.ModelService/DeleteModelRule", OPERATE),
    ("/bridge.admin.v1.ModelService/ListModels", READ),
    ("/bridge.admin.v1.SettingsService/GetSettings", READ),
    ("/bridge.admin.v1.SettingsService/UpdateSettings", OPERATE),
    ("/bridge.admin.v1.SettingsService/GetServerInfo", READ),
    (
        "/bridge.admin.v1.ServiceTokenService/ListServiceTokens",
        ADMIN_READ,
    ),
    ("/bridge.admin.v1.ServiceTokenService/GetServiceToken", ADMIN_READ),
    ("/bridge.admin.v1.ServiceTokenService/CreateServiceToken", ADMIN),
    ("/bridge.admin.v1.ServiceTokenService/DeleteServiceToken", ADMIN),
    ("/bridge.admin.v1.FleetService/ListNodes", READ),
    ("/bridge.admin.v1.FleetService/WatchFleet", READ),
    ("/bridge.admin.v1.FleetService/DrainNode", OPERATE),
    ("/bridge.admin.v1.FleetService/RevokeNode", ADMIN),
    ("/bridge.admin.v1.FleetService/ForgetNode", ADMIN),
    ("/bridge.admin.v1.FleetService/CreateJoinToken", ADMIN),
    ("/bridge.admin.v1.FleetService/ListBreakerOverrides", READ),
    ("/bridge.admin.v1.FleetService/SetBreakerOverride", OPERATE),
    ("/bridge.admin.v1.FleetService/DeleteBreakerOverride", OPERATE),
    ("/bridge.admin.v1.HealthService/ListHealth", READ),
    ("/bridge.admin.v1.HealthService/GetHealth", READ),
    ("/bridge.admin.v1.HealthService/CheckHealth", OPERATE),
    ("/bridge.admin.v1.StatsService/GetSummary", ANY),
    ("/bridge.admin.v1.StatsService/GetTokenUsage", ANY),
    ("/bridge.admin.v1.StatsService/ListRequests", ANY),
    ("/bridge.admin.v1.StatsService/GetRequest", ANY),
    ("/bridge.admin.v1.RoutingService/Explain", READ),
    ("/bridge.admin.v1.ConfigService/ListRevisions", READ),
    ("/bridge.admin.v1.ConfigService/Diff", READ),
    ("/bridge.admin.v1.ConfigService/Rollback", OPERATE),
    ("/bridge.admin.v1.ConfigService/Export", READ),
    ("/bridge.admin.v1.ConfigService/Plan", READ),
    ("/bridge.admin.v1.ConfigService/Apply", OPERATE),
    ("/bridge.admin.v1.AuditService/ListEntries", ADMIN_READ),
    ("/bridge.admin.v1.AuditService/ExportEntries", ADMIN_READ),
    ("/bridge.admin.v1.AuditService/VerifyEntries", ADMIN_READ),
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ANY),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ANY,
    ),
];

/// What the method at this path asks; `None`: nobody may call it.
pub(crate) fn access(path: &str) -> Option<Access> {
    TABLE
        .iter()
        .find(|(method, _)| *method == path)
        .map(|(_, access)| *access)
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
            .map(|(method, _)| (*method).to_owned())
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
        let distinct: BTreeSet<_> = TABLE.iter().map(|(method, _)| method).collect();
        assert_eq!(distinct.len(), TABLE.len());
    }

    #[test]
    fn an_admin_may_call_everything_and_an_unknown_path_nobody() {
        for (method, access) in TABLE {
            let admits_admin = match access {
                Open | BeforePasswordChange => true,
                Only(roles) => roles.contains(&Role::Admin),
            };
            assert!(admits_admin, "{method}");
        }
        assert_eq!(access("/bridge.admin.v1.AuthService/Nothing"), None);
        assert_eq!(access("/bridge.fleet.v1.WatchService/Watch"), None);
    }
}
