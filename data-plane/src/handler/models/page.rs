//! Pages of the list: `limit`, `after_id`, `before_id`, `lifecycle`.

use bridge_translate::error::BadRequest;
use serde::Serialize;
use url::form_urlencoded;

use super::entry::{LIFECYCLE, Model};

/// Also the default: lists are short, and whoever asks by hand wants to see all of it.
const LIMIT_MAX: usize = 1000;

#[derive(Debug, Serialize)]
pub(super) struct Page {
    data: Vec<Model>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// What part of the list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    limit: usize,
    cursor: Option<Cursor>,
    is_active_wanted: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Cursor {
    After(String),
    Before(String),
}

impl Query {
    /// Other parameters are ignored.
    pub(super) fn parse(query: &str) -> Result<Self, BadRequest> {
        let mut limit = LIMIT_MAX;
        let mut cursor = None;
        let mut lifecycles = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => {
                    limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                        .ok_or_else(|| {
                            let text = format!("Input should be a valid integer from 1 to {LIMIT_MAX}");
                            BadRequest::at("limit", &text)
                        })?;
                }
                "after_id" => cursor = Some(Cursor::After(value.into_owned())),
                "before_id" => cursor = Some(Cursor::Before(value.into_owned())),
                "lifecycle" | "lifecycle[]" => lifecycles.push(value.into_owned()),
                _ => {}
            }
        }
        Ok(Self {
            limit,
            cursor,
            is_active_wanted: lifecycles.is_empty() || lifecycles.iter().any(|stage| stage == LIFECYCLE),
        })
    }

    pub(super) fn page(self, mut models: Vec<Model>) -> Result<Page, BadRequest> {
        if !self.is_active_wanted {
            models.clear();
        }
        let place = |id: &str, field: &str| {
            let found = models.iter().position(|model| model.id.eq_ignore_ascii_case(id));
            found.ok_or_else(|| BadRequest::at(field, "no model has this id"))
        };
        let (from, to, has_more) = match &self.cursor {
            None => (0, self.limit, self.limit < models.len()),
            Some(Cursor::After(id)) => {
                let from = place(id, "after_id")? + 1;
                (from, from + self.limit, from + self.limit < models.len())
            }
            Some(Cursor::Before(id)) => {
                let to = place(id, "before_id")?;
                (to.saturating_sub(self.limit), to, to > self.limit)
            }
        };
        models.truncate(to);
        models.drain(..from);
        let id = |model: &Model| model.id.clone();
        Ok(Page {
            first_id: models.first().map(id),
            last_id: models.last().map(id),
            data: models,
            has_more,
        })
    }
}

#[cfg(test)]
mod tests {
    use bridge_translate::Dialect;

    use super::*;
    use crate::{
        routing::{Abilities, Reach},
        snapshot::ApiFormat,
    };

    fn models() -> Vec<Model> {
        let model = |name: &str| {
            Model::new(Reach {
                name: name.to_owned(),
                limits: Default::default(),
                abilities: Abilities::of(ApiFormat::OpenAi, &Dialect::default()),
            })
        };
        ["a", "b", "c", "d", "e"].map(model).into()
    }

    fn check(query: &str, ids: &[&str], has_more: bool) {
        let page = Query::parse(query).unwrap().page(models()).unwrap();
        let got: Vec<_> = page.data.iter().map(|model| &*model.id).collect();
        assert_eq!((&*got, page.has_more), (ids, has_more), "{query}");
        assert_eq!(page.first_id.as_deref(), ids.first().copied(), "{query}");
        assert_eq!(page.last_id.as_deref(), ids.last().copied(), "{query}");
    }

    #[test]
    fn pages_follow_each_other_in_both_directions() {
        check("", &["a", "b", "c", "d", "e"], false);
        check("limit=1000&beta=true", &["a", "b", "c", "d", "e"], false);
        check("limit=2", &["a", "b"], true);
        check("limit=2&after_id=b", &["c", "d"], true);
        check("limit=2&after_id=D", &["e"], false);
        check("after_id=e", &[], false);
        check("limit=2&before_id=d", &["b", "c"], true);
        check("limit=2&before_id=c", &["a", "b"], false);
        check("before_id=a", &[], false);
        check("lifecycle=retired", &[], false);
        check("lifecycle=retired&lifecycle=active&limit=1", &["a"], true);
    }

    #[test]
    fn a_wrong_page_is_named() {
        for query in ["limit=0", "limit=1001", "limit=ten", "limit="] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.message.starts_with("limit:"), "{query}: {error}");
        }
        for query in ["after_id=z", "before_id=z"] {
            let error = Query::parse(query).unwrap().page(models()).unwrap_err();
            assert!(error.message.contains("_id:"), "{query}: {error}");
        }
    }
}
