//! Fields of objects that others wrote: read as what we can use, skipped if they are not.
//!
//! Newer clients put unexpected types into fields; a field that we cannot read is one that
//! is absent, never a reason to refuse the whole. One that comes twice is: readers differ in
//! which of the two they take.

use super::cursor::{Cursor, Kind, Result};
use super::escaped::{Escaped, Raw};

/// Name and value.
pub(crate) type Member<'a> = (Escaped<'a>, Raw<'a>);

impl<'a> Cursor<'a> {
    /// A string; any other value is skipped.
    pub(crate) fn text(&mut self) -> Result<Option<Escaped<'a>>> {
        if self.peek()? == Kind::Text {
            return self.string().map(Some);
        }
        self.skip().map(|()| None)
    }

    /// `true`; any other value is `false`.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        self.raw().map(|raw| raw.get() == "true")
    }

    /// A count of something: floats are rounded, whatever is no positive number is 0.
    pub(crate) fn count(&mut self) -> Result<u64> {
        let raw = self.raw()?.get();
        let count = raw.parse().ok();
        // A float-to-integer cast saturates: negative and NaN become 0.
        let rounded = || raw.parse::<f64>().map_or(0, |count| count.round() as u64);
        Ok(count.unwrap_or_else(rounded))
    }

    /// The next value, and if it is an object its members as they are written.
    pub(crate) fn members(&mut self) -> Result<(Raw<'a>, Option<Vec<Member<'a>>>)> {
        let is_object = self.peek()? == Kind::Object;
        let start = self.place();
        if !is_object {
            return self.raw().map(|raw| (raw, None));
        }
        let mut members = Vec::new();
        self.object(|cursor, name| {
            members.push((name, cursor.raw()?));
            Ok(())
        })?;
        Ok((self.since(start), Some(members)))
    }

    /// [`Cursor::list`], or `null`, which tells `false`.
    pub(crate) fn optional_list(&mut self, element: impl FnMut(&mut Self) -> Result<()>) -> Result<bool> {
        if self.is_null()? {
            return Ok(false);
        }
        self.list(element).map(|()| true)
    }

    /// [`Cursor::object`], or `null`, which tells `false`.
    pub(crate) fn optional_object(
        &mut self,
        member: impl FnMut(&mut Self, Escaped<'a>) -> Result<()>,
    ) -> Result<bool> {
        if self.is_null()? {
            return Ok(false);
        }
        self.object(member).map(|()| true)
    }

    /// A text field.
    pub(crate) fn text_into(&mut self, field: &mut Option<Escaped<'a>>) -> Result<()> {
        if field.is_some() {
            return self.duplicate();
        }
        *field = self.text()?;
        Ok(())
    }

    /// A field that stays as it is; `null` is none.
    pub(crate) fn raw_into(&mut self, field: &mut Option<Raw<'a>>) -> Result<()> {
        if field.is_some() {
            return self.duplicate();
        }
        *field = self.raw()?.not_null();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_absent() {
        let read = |text| Cursor::new(text).text().unwrap().map(Escaped::as_written);
        assert_eq!(read("\"a\""), Some("a"));
        assert_eq!((read("7"), read("{\"a\":[]}"), read("null")), (None, None, None));
        let count = |text| Cursor::new(text).count().unwrap();
        let counts = ["7", "9.6", "-3", "\"x\"", "{}", "1e3", "18446744073709551615"].map(count);
        assert_eq!(counts, [7, 10, 0, 0, 0, 1000, u64::MAX]);
        let flag = |text| Cursor::new(text).flag().unwrap();
        assert!(flag("true") && !flag("1") && !flag("\"true\""));
    }

    #[test]
    fn a_field_comes_once() {
        let mut field = None;
        let mut cursor = Cursor::new(r#"{"a":null,"b":1,"b":2}"#);
        let fault = cursor
            .object(|cursor, _| cursor.raw_into(&mut field))
            .unwrap_err();
        assert_eq!((fault.at, field.map(Raw::get)), (16, Some("1")));
    }
}
