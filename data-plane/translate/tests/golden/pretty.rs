//! Pretty JSON that keeps key order and spelling, so that goldens show what was sent.

const WIDTH: usize = 100;

/// Breaks what does not fit into a line; keeps small things together.
pub(crate) fn pretty(json: &str) -> String {
    let tokens = tokens(json);
    let mut out = String::new();
    write(&tokens, &mut 0, 0, &mut out);
    out
}

/// Without white space between tokens.
pub(crate) fn compact(json: &str) -> String {
    tokens(json).concat()
}

fn tokens(json: &str) -> Vec<&str> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    let bytes = json.as_bytes();
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => at += 1,
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            _ => {
                while at < bytes.len() && !b"{}[],: \n\t\r".contains(&bytes[at]) {
                    at += 1;
                }
            }
        }
        tokens.push(&json[start..at]);
    }
    tokens
}

fn write(tokens: &[&str], at: &mut usize, indent: usize, out: &mut String) {
    let end = value_end(tokens, *at);
    let flat: usize = tokens[*at..end].iter().map(|token| token.len() + 1).sum();
    if end - *at == 1 || indent + flat <= WIDTH {
        for token in &tokens[*at..end] {
            out.push_str(token);
            if matches!(*token, "," | ":") {
                out.push(' ');
            }
        }
        *at = end;
        return;
    }
    out.push_str(tokens[*at]);
    *at += 1;
    while !matches!(tokens[*at], "}" | "]") {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent + 2));
        if tokens[*at + 1] == ":" {
            out.push_str(tokens[*at]);
            out.push_str(": ");
            *at += 2;
        }
        write(tokens, at, indent + 2, out);
        if tokens[*at] == "," {
            out.push(',');
            *at += 1;
        }
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push_str(tokens[*at]);
    *at += 1;
}

fn value_end(tokens: &[&str], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match *token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}
