//! How the configuration became what it is: the rows of the audit log that raised the
//! revision, newest first, and what each of them changed.

use super::{AuditRow, Error, Store, audit_log, change_log, history, rows::Rows, thing};
use crate::domain::audit::AuditEntry;

/// Rows of the audit log that one page looks at.
const ROWS_MAX: usize = 5_000;
/// Things that are named of one revision.
const TARGETS_MAX: usize = 100;

/// Which page is asked for.
#[derive(Debug, Clone)]
pub struct RevisionAsk {
    /// Rows of the audit log below this; `None`: from the newest.
    pub below: Option<u64>,
    pub size: usize,
    /// A thing, a kind with a slash, or nothing: all.
    pub target: String,
}

#[derive(Debug, Clone)]
pub struct RevisionPage {
    pub revisions: Vec<Revision>,
    /// Where the next page begins; a page may be short although there is one.
    pub next: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Revision {
    pub revision: u64,
    pub entry: AuditEntry,
    /// Some of them, if there are very many.
    pub targets: Vec<String>,
    /// Whether its state can be told.
    pub is_kept: bool,
}

impl Store {
    pub async fn list_revisions(&self, ask: RevisionAsk) -> Result<RevisionPage, Error> {
        self.viewing(move |view| page(view.rows.as_ref(), view.revision, &ask))
            .await
    }
}

fn page(rows: &dyn Rows, current: u64, ask: &RevisionAsk) -> Result<RevisionPage, Error> {
    let oldest = history::oldest(rows, current)?;
    let mut revisions = Vec::new();
    // Several rows may have a revision; the oldest of them has raised it.
    let mut candidate: Option<AuditRow> = None;
    let mut looked_at = 0;
    for row in audit_log::backwards(rows, ask.below) {
        let row = row?;
        let raised = candidate.replace(row.clone());
        if let Some(raised) = raised.filter(|raised| row.revision < raised.revision) {
            let next = raised.sequence;
            revisions.extend(shown(rows, raised, oldest, &ask.target)?);
            if revisions.len() >= ask.size {
                return Ok(RevisionPage {
                    revisions,
                    next: Some(next),
                });
            }
        }
        looked_at += 1;
        if looked_at >= ROWS_MAX {
            return Ok(RevisionPage {
                revisions,
                next: Some(row.sequence.saturating_add(1)),
            });
        }
    }
    if let Some(first) = candidate.filter(|row| row.revision > 0) {
        revisions.extend(shown(rows, first, oldest, &ask.target)?);
    }
    Ok(RevisionPage {
        revisions,
        next: None,
    })
}

fn shown(rows: &dyn Rows, row: AuditRow, oldest: u64, asked: &str) -> Result<Option<Revision>, Error> {
    let AuditRow {
        sequence: _,
        revision,
        entry,
        hash: _,
    } = row;
    let logged = change_log::of(rows, revision)?;
    let mut targets: Vec<String> = logged
        .iter()
        .map(|change| thing::target(change.kind, &change.id))
        .collect();
    targets.sort();
    targets.dedup();
    if targets.is_empty() {
        // The change log does not reach back that far.
        targets.push(entry.target.clone());
    }
    let is_asked_for = |target: &String| {
        asked.is_empty() || target == asked || (asked.ends_with('/') && target.starts_with(asked))
    };
    if !targets.iter().any(is_asked_for) {
        return Ok(None);
    }
    targets.truncate(TARGETS_MAX);
    Ok(Some(Revision {
        revision,
        entry,
        targets,
        is_kept: revision >= oldest,
    }))
}
