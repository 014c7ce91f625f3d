//! How bad input is reported: by field, all of it at once.

use std::fmt;

/// Why a value is refused: lower case, no full stop, never the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// One field that cannot be accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, such as `models.big[2]`.
    pub field: String,
    pub description: String,
}

impl fmt::Display for FieldViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// Gathers violations while a draft is checked.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// The value, or `None` after noting why there is none.
    pub fn check<T>(&mut self, field: impl Into<String>, result: Result<T, Invalid>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(reason) => {
                self.add(field, reason.to_string());
                None
            }
        }
    }

    /// Like [`Self::check`] for each item of a list; field names get an index.
    pub fn check_all<I, T>(
        &mut self,
        field: &str,
        items: impl IntoIterator<Item = I>,
        mut parse: impl FnMut(I) -> Result<T, Invalid>,
    ) -> Vec<T> {
        let items = items.into_iter().enumerate();
        items
            .filter_map(|(index, item)| self.check(format!("{field}[{index}]"), parse(item)))
            .collect()
    }

    /// Takes over violations of a part, below the name of that part.
    pub fn nest(&mut self, prefix: &str, part: Vec<FieldViolation>) {
        let nested = part
            .into_iter()
            .map(|FieldViolation { field, description }| FieldViolation {
                field: format!("{prefix}.{field}"),
                description,
            });
        self.0.extend(nested);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was gathered.
    #[must_use]
    pub fn into_vec(self) -> Vec<FieldViolation> {
        self.0
    }

    /// The whole, if every part of it was there and nothing was noted.
    pub fn finish<T>(self, whole: Option<T>) -> Result<T, Vec<FieldViolation>> {
        match whole {
            Some(whole) if self.0.is_empty() => Ok(whole),
            Some(_) | None => Err(self.0),
        }
    }
}
