//! The scripts do to a key what the vectors say.

use devstack::Valkey;
use redis::Value;
use serde::Deserialize;

use crate::support::Raw;

const KEY: &[u8] = b"vector";

#[derive(Deserialize)]
struct Vectors {
    scripts: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    script: String,
    why: String,
    before: Option<String>,
    args: Vec<String>,
    reply: serde_json::Value,
    after: Option<String>,
    ttl_at_most: Option<i64>,
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Int(int) => int.into(),
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap().into(),
        Value::Array(values) => values.into_iter().map(json).collect(),
        other => panic!("unexpected reply: {other:?}"),
    }
}

#[limited::test]
async fn each_script_does_what_its_vectors_say() {
    let valkey = Valkey::start().await.unwrap();
    let raw = Raw::connect(&valkey).await;
    let vectors = super::read::<Vectors>("vectors.json").scripts;
    assert!(vectors.len() > 25);
    for vector in vectors {
        let what = format!("{}: {}", vector.script, vector.why);
        raw.run::<()>(&[b"FLUSHALL"]).await;
        if let Some(before) = &vector.before {
            raw.run::<()>(&[b"SET", KEY, before.as_bytes()]).await;
        }
        let file = super::directory().join(format!("scripts/{}.lua", vector.script));
        let source = std::fs::read(file).unwrap();
        let mut eval: Vec<&[u8]> = vec![b"EVAL", &source, b"1", KEY];
        eval.extend(vector.args.iter().map(String::as_bytes));
        assert_eq!(json(raw.run(&eval).await), vector.reply, "{what}");
        let after: Option<String> = raw.run(&[b"GET", KEY]).await;
        assert_eq!(after, vector.after, "{what}");
        if let Some(limit) = vector.ttl_at_most {
            let left: i64 = raw.run(&[b"PTTL", KEY]).await;
            assert!((1..=limit).contains(&left), "{what}: {left}");
        }
    }
}
