//! The treatment of field names that servers read in different ways.

/// The treatment of a field whose name has other characters than letters, digits and hyphens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeaderNames {
    /// The field is removed from the request.
    #[default]
    Drop,
    /// The request is refused.
    Refuse,
    /// The field is forwarded, unless its name stands for one that matters to the gateway.
    Pass,
}
