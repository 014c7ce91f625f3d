//! The families of records.

macro_rules! families {
    ($($variant:ident = $name:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Family { $($variant),* }

        impl Family {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

families! {
    Meta = "meta",
    Users = "users",
    UsersByEmail = "users_by_email",
    LastLogins = "last_logins",
    Sessions = "sessions",
    Providers = "providers",
    ApiKeys = "api_keys",
    ModelRules = "model_rules",
    Settings = "settings",
    Sealed = "sealed",
    HealthChecks = "health_checks",
    ChangeLog = "change_log",
    History = "history",
    Audit = "audit",
    Idempotency = "idempotency",
    ServiceTokens = "service_tokens",
    BreakerOverrides = "breaker_overrides",
    ServiceTokenUses = "service_token_uses",
    JoinTokens = "join_tokens",
    Nodes = "nodes",
    UsageSums = "usage_sums",
    UsageMeta = "usage_meta",
    KeyUsage = "key_usage",
    RequestLog = "request_log",
    Writers = "writers",
    Presence = "presence",
    ShownNodes = "shown_nodes",
    Letters = "letters",
}

impl Family {
    /// Whether the store's digest covers it. The logs have heads of their own in
    /// `Meta`, and what makes a retry harmless or is checked again may be lost.
    pub(super) fn is_digested(self) -> bool {
        match self {
            Self::Users | Self::UsersByEmail | Self::LastLogins | Self::Sessions | Self::Providers => true,
            Self::ApiKeys | Self::ModelRules | Self::Settings | Self::Sealed => true,
            Self::Meta | Self::ChangeLog | Self::History | Self::Audit | Self::Idempotency => false,
            Self::HealthChecks | Self::Writers | Self::Presence => false,
            Self::ShownNodes | Self::Letters => false,
            Self::ServiceTokens | Self::ServiceTokenUses | Self::BreakerOverrides => true,
            Self::JoinTokens | Self::Nodes => true,
            // Traffic is no configuration.
            Self::UsageSums | Self::UsageMeta | Self::KeyUsage | Self::RequestLog => false,
        }
    }
}
