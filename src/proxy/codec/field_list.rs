//! The fields of a message, in a list and not in a hash map.
//!
//! A message has a dozen fields, each of which is looked up a few times. Comparing a dozen names costs less than
//! hashing them, and one block of memory less than the two of a map. The fields keep their order (RFC 9110, 5.3).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header fields in the order in which they go over the wire.
///
/// Looking one up takes time with their number, which the bounds of a head keep small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldList(Vec<(HeaderName, HeaderValue)>);

/// The error for several fields of a name that may occur once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several;

impl FieldList {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A list with room for `count` fields.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// The number of fields; fields of the same name are counted each.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names, one for each field.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The first field of that name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get_all(name).next()
    }

    /// All fields of that name, in their order.
    pub fn get_all<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a HeaderValue> + use<'a, 'n> {
        let named = move |(known, _): &&(HeaderName, HeaderValue)| known == name;
        self.0.iter().filter(named).map(|(_, value)| value)
    }

    /// The only field of that name; several are an error.
    pub fn one(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, Several> {
        let mut values = self.get_all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Several),
            (value, None) => Ok(value),
        }
    }

    pub fn contains(&self, name: &HeaderName) -> bool {
        self.names().any(|known| known == name)
    }

    /// Adds a field behind all others, even if there are some of that name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Makes `value` the only one of that name, at the place of the first one.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let Some(first) = self.names().position(|known| *known == name) else {
            return self.append(name, value);
        };
        let mut place = 0;
        self.0.retain(|(known, _)| {
            place += 1;
            place <= first + 1 || *known != name
        });
        if let Some((_, known)) = self.0.get_mut(first) {
            *known = value;
        }
    }

    /// Removes all fields of that name.
    pub fn remove(&mut self, name: &HeaderName) {
        // Most of these names are absent, and moving all fields costs more than a look.
        if self.contains(name) {
            self.0.retain(|(known, _)| known != name);
        }
    }

    /// Keeps the fields for which `keep` returns true; it is called in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }
}

impl Extend<(HeaderName, HeaderValue)> for FieldList {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, fields: I) {
        self.0.extend(fields);
    }
}

impl From<HeaderMap> for FieldList {
    fn from(map: HeaderMap) -> Self {
        let mut list = Self::with_capacity(map.len() + SPARE);
        let mut said = None;
        for (name, value) in map {
            // The map yields a name only once for all its values.
            said = name.or(said);
            if let Some(name) = &said {
                list.append(name.clone(), value);
            }
        }
        list
    }
}

impl From<FieldList> for HeaderMap {
    fn from(list: FieldList) -> Self {
        let mut map = Self::with_capacity(list.len());
        for (name, value) in list.0 {
            map.append(name, value);
        }
        map
    }
}

impl IntoIterator for FieldList {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// An index by name, for readable tests.
#[cfg(test)]
impl std::ops::Index<&str> for FieldList {
    type Output = HeaderValue;

    fn index(&self, name: &str) -> &HeaderValue {
        self.get(&name.parse().unwrap()).unwrap()
    }
}

/// Room for fields that are added to a message later.
const SPARE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    fn list(fields: &[(&'static str, &'static str)]) -> FieldList {
        let mut list = FieldList::new();
        for (name, value) in fields {
            list.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        list
    }

    #[test]
    fn fields_keep_their_order_and_their_number() {
        let list = list(&[("accept", "a"), ("x-b", "b"), ("accept", "c")]);
        let names: Vec<&str> = list.names().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "x-b", "accept"]);
        let all: Vec<_> = list.get_all(&header::ACCEPT).collect();
        assert_eq!(all, ["a", "c"]);
        assert_eq!(list.get(&header::ACCEPT).unwrap(), "a");
        assert_eq!((list.len(), list.is_empty()), (3, false));
        assert_eq!(list.one(&header::ACCEPT), Err(Several));
        assert_eq!(list.one(&header::HOST), Ok(None));
        let name = HeaderName::from_static("x-b");
        assert_eq!(list.one(&name).unwrap().unwrap(), "b");
        assert!(!list.contains(&header::HOST));
        assert_eq!(list.get(&header::HOST), None);
    }

    #[test]
    fn what_is_inserted_is_the_only_one_of_its_name() {
        let mut fields = list(&[("te", "a"), ("x-b", "b"), ("te", "c")]);
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        assert_eq!(fields, list(&[("te", "trailers"), ("x-b", "b")]));
        fields.remove(&header::TE);
        fields.remove(&header::HOST);
        assert_eq!(fields, list(&[("x-b", "b")]));
    }

    #[test]
    fn a_map_and_back_says_the_same() {
        let fields = [("accept", "a"), ("accept", "c"), ("x-b", "b")];
        let map = HeaderMap::from(list(&fields));
        assert_eq!(map.len(), 3);
        let mut back = FieldList::from(map);
        assert_eq!(back.get_all(&header::ACCEPT).count(), 2);
        back.retain(|name, value| name == header::ACCEPT && value != "a");
        assert_eq!(back, list(&[("accept", "c")]));
    }
}
