//! x
pub fn annotated_default() -> String {
    String::new()
}
