//! Generators of random external input for the tests of all parsers.
//!
//! Each test runs 256 cases, or the number in PROPTEST_CASES (`make fuzz`), and prints the number of cases.

#![allow(clippy::unwrap_used)] // Test code.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use serde_json::{Map, Value};
use std::cell::Cell;

/// Nesting depth beyond the limit of any parser.
const DEEP: usize = 10_000;

/// Checks random inputs of a strategy; reports the smallest failing one.
pub fn try_all<S: Strategy>(what: &str, inputs: S, check: impl Fn(S::Value) -> TestCaseResult) {
    let tried = Cell::new(0);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&inputs, |input| {
        tried.set(tried.get() + 1);
        check(input)
    });
    eprintln!("fuzz: {what}: {} inputs", tried.get());
    assert_eq!(outcome.map_err(|error| error.to_string()), Ok(()));
}

/// Returns hostile text: control and bidi characters, mentions, placeholders, quotes, excessive length.
pub fn any_text() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "\u{0}",
        "\n",
        "\r\n",
        "\t",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{2066}",
        "\u{200b}",
        "\u{feff}",
        "\u{2028}",
        "\u{e000}",
        "@",
        "@here",
        "@ada",
        "a@b.example",
        "＠ada",
        "{candidate}",
        "{stage}",
        "{",
        "}",
        "{{",
        "\"",
        "\\",
        "'",
        "<script>",
        "../..",
        "%2e%2e",
        "Reference: padoperator.dev/x/y",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "é",
        "e\u{301}",
        "-1",
        "null",
        "-009999-01-02T01:59:59Z",
        "9999-12-30T22:00:00.999999999Z",
    ];
    let piece = prop_oneof![
        4 => select(odd.to_vec()).prop_map(str::to_owned),
        3 => any::<char>().prop_map(String::from),
        2 => "\\PC{0,20}",
        1 => (select(odd.to_vec()), 1..400_usize).prop_map(|(text, times)| text.repeat(times)),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Returns arbitrary JSON.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(vec![0, 1, -1, i64::MAX, i64::MIN]).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(any_text(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns one of the documents with several mutations: a value of another type, another value of the same type, an
/// additional field or row, a missing field.
pub fn altered(documents: Vec<Value>, most: usize) -> impl Strategy<Value = Value> {
    let change = (any::<Index>(), any::<Index>(), any_json(), any_text(), any::<i32>());
    let changes = proptest::collection::vec(change, 0..=most);
    (select(documents), changes).prop_map(|(mut document, changes)| {
        for (place, how, other, text, number) in changes {
            let mut places = Vec::new();
            pointers(&document, String::new(), &mut places);
            let target = document.pointer_mut(place.get(&places[..]).as_str()).unwrap();
            match (how.index(4), target) {
                (0, Value::Object(fields)) => {
                    fields.insert("more".into(), other);
                }
                (1, Value::Object(fields)) => {
                    let gone = fields.keys().next().cloned().unwrap_or_default();
                    fields.remove(&gone);
                }
                (0 | 1, Value::Array(rows)) => rows.push(other),
                (0..3, Value::String(same)) => *same = text,
                (0..3, Value::Number(same)) => *same = number.into(),
                (0..3, Value::Bool(same)) => *same = !*same,
                (_, target) => *target = other,
            }
        }
        document
    })
}

/// Returns bytes that are derived from one of the documents: mutated, truncated, with a changed byte, or deeply nested.
pub fn like(documents: Vec<Value>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop_oneof![
        6 => Just(Damage::None),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => select(vec!["[", "{\"data\":", "{\"a\":["]).prop_map(Damage::Deep),
        1 => proptest::collection::vec(any::<u8>(), 0..64).prop_map(Damage::Other),
    ];
    (altered(documents, 4), damage).prop_map(|(document, damage)| {
        let mut bytes = document.to_string().into_bytes();
        match damage {
            Damage::None => {}
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Damage::Deep(opening) => bytes = opening.repeat(DEEP).into_bytes(),
            Damage::Other(other) => bytes = other,
        }
        bytes
    })
}

/// Change of the bytes of a document.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(Index),
    Byte(Index, u8),
    Deep(&'static str),
    Other(Vec<u8>),
}

/// Returns all locations in a document.
fn pointers(value: &Value, here: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{here}/{name}"), places);
            }
        }
        Value::Array(rows) => {
            for (number, value) in rows.iter().enumerate() {
                pointers(value, format!("{here}/{number}"), places);
            }
        }
        _ => {}
    }
    places.push(here);
}

#[test]
fn mutated_documents_are_sometimes_equal_and_mostly_not() {
    let document = serde_json::json!({"a": [1, {"b": "c"}], "d": null});
    let (same, json_, other) = (Cell::new(0), Cell::new(0), Cell::new(0));
    try_all("the inputs themselves", like(vec![document.clone()]), |bytes| {
        let count = match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) if value == document => &same,
            Ok(_) => &json_,
            Err(_) => &other,
        };
        count.set(count.get() + 1);
        Ok(())
    });
    assert!(same.get() > 5 && json_.get() > 50 && other.get() > 20, "{same:?} {json_:?} {other:?}");
}
