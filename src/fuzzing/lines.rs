//! A second, plain reading of a head's lines, to hold the parsers against.

/// Asserts that every line ends with CRLF and that neither byte stands alone.
pub fn assert_crlf(head: &[u8]) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "a bare LF at {at}"),
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "a bare CR at {at}"),
            _ => {}
        }
    }
}

/// The names, in lower case, and the values of the lines after the first one.
pub fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let name = String::from_utf8_lossy(line[..colon].trim_ascii());
            let value = line[colon + 1..].trim_ascii().to_vec();
            (name.to_ascii_lowercase(), value)
        })
        .collect()
}

/// How many of the fields have this name.
pub fn count(fields: &[(String, Vec<u8>)], name: &str) -> usize {
    fields.iter().filter(|(known, _)| known == name).count()
}

/// The names that fields of this name list, in lower case.
pub fn listed(fields: &[(String, Vec<u8>)], name: &str) -> Vec<String> {
    let values = fields.iter().filter(|(known, _)| known == name);
    values
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .collect()
}
