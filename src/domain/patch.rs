//! Patch: one field of a change that names only what it changes.

use serde::{Deserialize, Deserializer};

/// The new value of a field, if the change names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field is not named: it stays as it is.
    #[default]
    Keep,
    /// `null`: the field gets its default.
    Reset,
    Set(T),
}

impl<T> Patch<T> {
    /// Changes a field that always has a value.
    pub fn apply(self, field: &mut T)
    where
        T: Default,
    {
        match self {
            Self::Keep => {}
            Self::Reset => *field = T::default(),
            Self::Set(value) => *field = value,
        }
    }

    /// Changes a field that may have none.
    pub fn apply_if_any(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Reset => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Reset => Patch::Reset,
            Self::Set(value) => Patch::Set(f(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(deserializer)?;
        Ok(value.map_or(Self::Reset, Self::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        number: Patch<u8>,
    }

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        for (text, patch, applied, optional) in [
            ("{}", Patch::Keep, 7, Some(7)),
            (r#"{"number": null}"#, Patch::Reset, 0, None),
            (r#"{"number": 3}"#, Patch::Set(3), 3, Some(3)),
        ] {
            let body: Body = serde_json::from_str(text).unwrap();
            assert_eq!(body.number, patch);
            let (mut field, mut may) = (7, Some(7));
            body.number.clone().apply(&mut field);
            body.number.apply_if_any(&mut may);
            assert_eq!((field, may), (applied, optional), "{text}");
        }
    }
}
