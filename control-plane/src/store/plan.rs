//! Turns a request into the set of rows that it writes, or says why it cannot be.
//!
//! Runs on the writer only, so that what it reads cannot change before it is
//! written. Nothing here touches the disk but by reading.

use super::{
    Change, Commit, CommitError, Expect, Kind, SessionChange, Stored, audit_log,
    change::LoggedChange,
    change_log, checks,
    family::Family,
    head::Head,
    history,
    idempotency::{self, Sweep},
    record::{self, Persist},
    rows::Rows,
    usage::{self, Outdated},
    write_set::{WriteSet, Writes},
};
use crate::domain::{
    api_key::{ApiKey, is_revocation},
    health::Check,
    model::ModelRule,
    provider::Provider,
    usage::Report,
};

/// What the writer is asked for.
pub(super) enum Request {
    Commit(Box<Commit>),
    /// Bookkeeping alone: no audit, no revision.
    Sessions(Vec<SessionChange>),
    /// Bookkeeping too, each check with the revision of the provider that it is about.
    Checks(Vec<(Check, u64)>),
    /// A report of a node, and when it came, in seconds since 1970.
    Usage(Box<Report>, u64),
    ForgetUsage(Outdated),
}

/// A request that can be carried out.
pub(super) struct Plan {
    pub(super) writes: Writes,
    pub(super) head: Head,
    pub(super) sweep: Sweep,
}

pub(super) fn plan(
    rows: &dyn Rows,
    head: &Head,
    sweep: Sweep,
    request: &Request,
) -> Result<Plan, CommitError> {
    let mut planner = Planner {
        writes: WriteSet::on(rows),
        based_on: head.revision,
        revision: head.revision,
        log: Vec::new(),
        removed_admin: false,
    };
    let mut next = *head;
    let mut next_sweep = sweep;
    match request {
        Request::Sessions(changes) => changes.iter().try_for_each(|change| planner.session(change))?,
        Request::Checks(made) => {
            for (check, of_revision) in made {
                checks::keep(&mut planner.writes, check, *of_revision, planner.revision)?;
            }
        }
        Request::Usage(report, now) => usage::count(&mut planner.writes, report, head.revision, *now)?,
        Request::ForgetUsage(outdated) => usage::forget(&mut planner.writes, outdated, head.revision)?,
        Request::Commit(commit) => {
            planner.revision += u64::from(commit.changes.iter().any(is_configuration));
            if let Some(idempotency) = &commit.idempotency {
                idempotency::check_and_note(
                    &mut planner.writes,
                    idempotency,
                    planner.revision,
                    commit.audit.at,
                )?;
                next_sweep = idempotency::sweep(&mut planner.writes, sweep, commit.audit.at)?;
            }
            commit
                .changes
                .iter()
                .try_for_each(|change| planner.change(change))?;
            planner.check_admins()?;
            next.revision = planner.revision;
            next.audit = audit_log::append(&mut planner.writes, head.audit, &commit.audit, planner.revision)?;
            change_log::append(&mut planner.writes, planner.revision, &planner.log)?;
            history::append(&mut planner.writes, planner.revision, &planner.log)?;
        }
    }
    next.digest = planner.writes.digest_after(head.digest)?;
    next.write(&mut planner.writes)?;
    Ok(Plan {
        writes: planner.writes.into_writes(),
        head: next,
        sweep: next_sweep,
    })
}

fn is_configuration(change: &Change) -> bool {
    match change {
        Change::PutUser(..) | Change::DeleteUser(..) => true,
        Change::PutProvider(..) | Change::DeleteProvider(..) => true,
        Change::PutApiKey(..) | Change::DeleteApiKey(..) => true,
        Change::PutModelRule(..) | Change::PlaceModelRule(..) | Change::DeleteModelRule(..) => true,
        Change::PutSettings(..) => true,
        Change::PutServiceToken(..) | Change::DeleteServiceToken(..) => true,
        Change::PutBreakerOverride(..) | Change::DeleteBreakerOverride(..) => true,
        Change::PutJoinToken(..) | Change::DeleteJoinToken(..) => true,
        Change::PutNode(..) | Change::DeleteNode(..) => true,
        Change::CarrySpent { .. } | Change::OwnerHasRoom(..) | Change::BasedOn(..) => false,
        Change::PutSealed(..) | Change::Session(..) => false,
    }
}

pub(super) struct Planner<'a> {
    pub(super) writes: WriteSet<'a>,
    /// Before these changes.
    based_on: u64,
    pub(super) revision: u64,
    log: Vec<LoggedChange>,
    pub(super) removed_admin: bool,
}

impl Planner<'_> {
    fn change(&mut self, change: &Change) -> Result<(), CommitError> {
        match change {
            Change::PutUser(user, expect) => self.put_user(user, *expect),
            Change::DeleteUser(id, expect) => self.delete_user(id, *expect),
            Change::PutProvider(provider, expect) => {
                let id = provider.spec.name.to_string();
                if let Some(before) = self.put(Kind::Provider, &id, provider, *expect)? {
                    checks::forget_outdated(&mut self.writes, &before, provider)?;
                }
                self.note(Kind::Provider, id, false);
                Ok(())
            }
            Change::DeleteProvider(name, expect) => {
                self.check_no_rule_leads_to(name)?;
                self.delete::<Provider>(Kind::Provider, name.as_str(), name.as_str().as_bytes(), *expect)?;
                checks::forget_all(&mut self.writes, name)?;
                self.delete_breaker_overrides_of(name)?;
                self.note(Kind::Provider, name.to_string(), false);
                Ok(())
            }
            Change::PutApiKey(key, expect) => self.put_api_key(key, *expect),
            Change::DeleteApiKey(id, expect) => {
                let old =
                    self.delete::<ApiKey>(Kind::ApiKey, id.as_str(), id.as_str().as_bytes(), *expect)?;
                let urgent = old.is_some_and(|old| is_revocation(&old, None));
                self.note(Kind::ApiKey, id.to_string(), urgent);
                Ok(())
            }
            Change::PutModelRule(rule, expect) => {
                self.check_provider_is_there(rule)?;
                self.put(Kind::ModelRule, rule.id.as_str(), rule, *expect)?;
                self.note(Kind::ModelRule, rule.id.to_string(), false);
                Ok(())
            }
            Change::PlaceModelRule(id, index) => self.place_model_rule(id, *index),
            Change::DeleteModelRule(id, expect) => {
                self.delete::<ModelRule>(Kind::ModelRule, id.as_str(), id.as_str().as_bytes(), *expect)?;
                self.note(Kind::ModelRule, id.to_string(), false);
                Ok(())
            }
            Change::PutSettings(settings, expect) => {
                self.put(Kind::Settings, "", settings, *expect)?;
                self.note(Kind::Settings, String::new(), false);
                Ok(())
            }
            Change::PutServiceToken(token, expect) => self.put_service_token(token, *expect),
            Change::DeleteServiceToken(id, expect) => self.delete_service_token(id, *expect),
            Change::PutBreakerOverride(held) => self.put_breaker_override(held),
            Change::DeleteBreakerOverride(id, expect) => self.delete_breaker_override(id, *expect),
            Change::PutJoinToken(token, expect) => self.put_join_token(token, *expect),
            Change::DeleteJoinToken(id, expect) => self.delete_join_token(id, *expect),
            Change::PutNode(node, expect) => self.put_node(node, *expect),
            Change::DeleteNode(id, expect) => self.delete_node(id, *expect),
            Change::CarrySpent { from, to } => usage::carry(&mut self.writes, from, to, self.revision),
            Change::OwnerHasRoom(owner, room) => self.check_room(owner, *room),
            Change::BasedOn(revision) if *revision == self.based_on => Ok(()),
            Change::BasedOn(_) => Err(CommitError::Moved {
                current: self.based_on,
            }),
            Change::PutSealed(name, sealed) => {
                self.writes
                    .put(Family::Sealed, name.as_str().as_bytes(), sealed.clone())
            }
            Change::Session(change) => self.session(change),
        }
    }

    pub(super) fn note(&mut self, kind: Kind, id: String, urgent: bool) {
        self.log.push(LoggedChange {
            revision: self.revision,
            kind,
            id,
            urgent,
        });
    }

    pub(super) fn get<T: Persist>(&self, key: &[u8]) -> Result<Option<Stored<T>>, CommitError> {
        let bytes = self.writes.get(T::FAMILY, key)?;
        Ok(bytes.map(|bytes| record::decode(&bytes)).transpose()?)
    }

    /// Writes a thing and answers what was there before.
    pub(super) fn put<T: Persist>(
        &mut self,
        kind: Kind,
        id: &str,
        thing: &T,
        expect: Expect,
    ) -> Result<Option<T>, CommitError> {
        let key = thing.key();
        let old = check_expected(self.get::<T>(&key)?, kind, id, expect)?;
        let row = match self.writes.get(T::FAMILY, &key)? {
            Some(before) => record::encode_over(thing, self.revision, &before)?,
            None => record::encode(thing, self.revision)?,
        };
        self.writes.put(T::FAMILY, &key, row)?;
        Ok(old)
    }

    pub(super) fn delete<T: Persist>(
        &mut self,
        kind: Kind,
        id: &str,
        key: &[u8],
        expect: Expect,
    ) -> Result<Option<T>, CommitError> {
        let old = check_expected(self.get::<T>(key)?, kind, id, expect)?;
        self.writes.delete(T::FAMILY, key);
        Ok(old)
    }
}

/// What was there, if it is as expected.
fn check_expected<T>(
    old: Option<Stored<T>>,
    kind: Kind,
    id: &str,
    expect: Expect,
) -> Result<Option<T>, CommitError> {
    let id = || id.to_owned();
    match (old, expect) {
        (Some(_), Expect::Absent) => Err(CommitError::Exists { kind, id: id() }),
        (None, Expect::Present | Expect::Revision(_)) => Err(CommitError::NotFound { kind, id: id() }),
        (Some(old), Expect::Revision(wanted)) if old.revision != wanted => Err(CommitError::Conflict {
            kind,
            id: id(),
            current: old.revision,
        }),
        (old, Expect::Absent | Expect::Present | Expect::Revision(_) | Expect::Any) => {
            Ok(old.map(|old| old.value))
        }
    }
}
