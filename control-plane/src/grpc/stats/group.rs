//! What sums are told apart by.

use bridge_proto::admin::v1 as admin;

use crate::grpc::status::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    All,
    Provider,
    Key,
    User,
    Model,
}

impl Group {
    pub(super) fn parse(wire: i32) -> Result<Self, Error> {
        match admin::UsageGroup::try_from(wire) {
            Ok(admin::UsageGroup::Unspecified) => Ok(Self::All),
            Ok(admin::UsageGroup::Provider) => Ok(Self::Provider),
            Ok(admin::UsageGroup::Key) => Ok(Self::Key),
            Ok(admin::UsageGroup::User) => Ok(Self::User),
            Ok(admin::UsageGroup::Model) => Ok(Self::Model),
            Err(_) => Err(Error::invalid("group", "must be provider, key, user or model")),
        }
    }
}
