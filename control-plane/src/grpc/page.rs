//! Pages of a list: order, filters' result and an opaque token.
//!
//! A token names the last item of its page, not a position: what is added or
//! removed between two pages neither repeats nor hides another item.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::grpc::status::Error;

const PAGE_SIZE_DEFAULT: usize = 50;
const PAGE_SIZE_MAX: usize = 1000;

/// Which page of which order is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    order: Order,
    size: usize,
    after: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) field: &'static str,
    is_descending: bool,
}

/// Where an item stands in its order: what it is ordered by as text that compares
/// alike, then its id.
pub(crate) type Place = (String, String);

#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
    pub(crate) total_size: u32,
}

impl Ask {
    /// `fields`: what may be ordered by, the default first.
    pub(crate) fn parse(
        page_size: u32,
        page_token: &str,
        order_by: &str,
        fields: &[&'static str],
    ) -> Result<Self, Error> {
        let order = Order::parse(order_by, fields)?;
        let size = self::page_size(page_size)?;
        let after = if page_token.is_empty() {
            None
        } else {
            Some(order.place(page_token)?)
        };
        Ok(Self { order, size, after })
    }

    pub(crate) fn field(&self) -> &'static str {
        self.order.field
    }

    /// Cuts the page out of all items that the filters let through.
    pub(crate) fn cut<T>(&self, items: Vec<T>, place: impl Fn(&T) -> Place) -> Page<T> {
        let total_size = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut placed: Vec<(Place, T)> = items.into_iter().map(|item| (place(&item), item)).collect();
        placed.sort_by(|(a, _), (b, _)| self.order.compare(a, b));
        if let Some(after) = &self.after {
            placed.retain(|(place, _)| self.order.compare(place, after).is_gt());
        }
        let has_more = placed.len() > self.size;
        placed.truncate(self.size);
        let last = placed.last().filter(|_| has_more);
        let next_page_token = last.map(|(place, _)| self.order.token(place)).unwrap_or_default();
        Page {
            items: placed.into_iter().map(|(_, item)| item).collect(),
            next_page_token,
            total_size,
        }
    }
}

/// How many items a page has.
pub(crate) fn page_size(wire: u32) -> Result<usize, Error> {
    match usize::try_from(wire) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size) if size <= PAGE_SIZE_MAX => Ok(size),
        Ok(_) | Err(_) => Err(Error::invalid(
            "page_size",
            format!("must be 1 to {PAGE_SIZE_MAX}"),
        )),
    }
}

impl Order {
    fn parse(text: &str, fields: &[&'static str]) -> Result<Self, Error> {
        let text = text.trim();
        let (name, is_descending) = match text.strip_suffix(" desc") {
            Some(name) => (name.trim(), true),
            None => (text, false),
        };
        let field = if text.is_empty() {
            fields.first()
        } else {
            fields.iter().find(|field| **field == name)
        };
        let field = field.ok_or_else(|| {
            Error::invalid(
                "order_by",
                format!(
                    "must be one of {}, each optionally with ` desc`",
                    fields.join(", ")
                ),
            )
        })?;
        Ok(Self { field, is_descending })
    }

    fn compare(&self, a: &Place, b: &Place) -> std::cmp::Ordering {
        if self.is_descending { b.cmp(a) } else { a.cmp(b) }
    }

    fn token(&self, (text, id): &Place) -> String {
        let token = format!("{}\n{}\n{id}\n{text}", self.field, self.is_descending);
        URL_SAFE_NO_PAD.encode(token)
    }

    fn place(&self, token: &str) -> Result<Place, Error> {
        let refused = || Error::invalid("page_token", "is not one of this list in this order");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let text = String::from_utf8(bytes).map_err(|_| refused())?;
        let prefix = format!("{}\n{}\n", self.field, self.is_descending);
        let (id, text) = text
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once('\n'))
            .ok_or_else(refused)?;
        Ok((text.to_owned(), id.to_owned()))
    }
}

/// A time as text that compares like the time.
pub(crate) fn place_of_time(time: Option<std::time::SystemTime>) -> String {
    let since = time
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .unwrap_or_default();
    format!("{:020}", since.as_micros())
}

/// A number as text that compares like the number.
pub(crate) fn place_of_number(number: i32) -> String {
    format!("{:010}", i64::from(number) - i64::from(i32::MIN))
}

/// Whether any of the texts holds the query, without case.
pub(crate) fn matches_query(query: &str, texts: &[&str]) -> bool {
    let query = query.trim().to_lowercase();
    texts.iter().any(|text| text.to_lowercase().contains(&query))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 2] = ["name", "size"];

    fn place(item: &&str) -> Place {
        ((*item).to_owned(), (*item).to_owned())
    }

    fn ask(size: u32, token: &str, order: &str) -> Result<Ask, Error> {
        Ask::parse(size, token, order, &FIELDS)
    }

    #[test]
    fn pages_follow_each_other_although_the_list_changes() {
        let first = ask(2, "", "").unwrap().cut(vec!["d", "b", "a", "c"], place);
        assert_eq!((first.items, first.total_size), (vec!["a", "b"], 4));
        let second = ask(2, &first.next_page_token, "")
            .unwrap()
            .cut(vec!["d", "aa", "c"], place);
        assert_eq!(second.items, ["c", "d"]);
        assert_eq!(second.next_page_token, "");
    }

    #[test]
    fn an_order_may_be_turned_around() {
        let page = ask(1, "", "name desc").unwrap().cut(vec!["a", "b"], place);
        assert_eq!(page.items, ["b"]);
        let next = ask(1, &page.next_page_token, "name desc")
            .unwrap()
            .cut(vec!["a", "b"], place);
        assert_eq!(next.items, ["a"]);
        assert!(
            ask(1, &page.next_page_token, "name").is_err(),
            "the token belongs to another order"
        );
    }

    #[test]
    fn what_is_not_an_order_a_size_or_a_token_is_refused() {
        for (size, token, order) in [
            (1001, "", ""),
            (0, "!", ""),
            (0, "bmFtZQ", ""),
            (0, "", "age"),
            (0, "", "name up"),
        ] {
            assert!(
                matches!(ask(size, token, order), Err(Error::Invalid(_))),
                "{size} {token} {order}"
            );
        }
    }

    #[test]
    fn numbers_and_times_compare_as_text() {
        let numbers = [i32::MIN, -7, 0, 3, 10, i32::MAX].map(place_of_number);
        assert!(numbers.is_sorted(), "{numbers:?}");
        let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(10);
        assert!(place_of_time(None) <= place_of_time(Some(std::time::UNIX_EPOCH)));
        assert!(place_of_time(Some(std::time::UNIX_EPOCH)) < place_of_time(Some(later)));
    }
}
