//! Field masks: which fields of an update count.

use prost_types::FieldMask;

use crate::domain::Violations;
use crate::grpc::status::Error;

const FIELD: &str = "update_mask";

/// A path that the message does not have or that cannot be changed.
#[derive(Debug)]
pub(crate) struct UnknownPath;

/// Applies each path of the mask. The mask must name something.
pub(crate) fn apply(
    mask: Option<FieldMask>,
    set: impl FnMut(&str) -> Result<(), UnknownPath>,
) -> Result<(), Error> {
    match mask {
        Some(mask) if !mask.paths.is_empty() => apply_any(Some(mask), set),
        Some(_) | None => Err(Error::invalid(FIELD, "must name at least one field")),
    }
}

/// Like [`apply`], but the mask may be empty.
pub(crate) fn apply_any(
    mask: Option<FieldMask>,
    mut set: impl FnMut(&str) -> Result<(), UnknownPath>,
) -> Result<(), Error> {
    let mut violations = Violations::default();
    for path in mask.unwrap_or_default().paths {
        if let Err(UnknownPath) = set(&path) {
            violations.add(FIELD, format!("`{path}` is not a field that can be changed"));
        }
    }
    violations.finish(Some(())).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        })
    }

    fn set(path: &str) -> Result<(), UnknownPath> {
        if path == "name" { Ok(()) } else { Err(UnknownPath) }
    }

    #[test]
    fn every_unknown_path_is_told() {
        assert!(apply(mask(&["name"]), set).is_ok());
        let Err(Error::Invalid(violations)) = apply(mask(&["id", "name", "age"]), set) else {
            panic!("unknown paths were taken");
        };
        assert_eq!(violations.len(), 2);
    }

    #[test]
    fn a_mask_that_names_nothing_is_refused_where_it_is_required() {
        assert!(apply(None, set).is_err() && apply(mask(&[]), set).is_err());
        assert!(apply_any(None, set).is_ok());
    }
}
