//! Filters of lists, against a plain model of what is allowed.
#![no_main]

use fia_api::model::{BadFilter, Condition, Filters};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let found = Filters::parse(Some(text));
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let is_absent = text.is_empty();
        assert_eq!(found.is_ok(), is_absent, "what is not JSON");
        return;
    };
    if let Ok(filters) = &found {
        let Value::Object(fields) = &value else {
            assert!(filters.conditions().is_empty());
            return;
        };
        assert_eq!(filters.conditions().len(), fields.len());
        for ((key, value), condition) in fields.iter().zip(filters.conditions()) {
            assert!(
                is_condition(key, value, condition),
                "{key}: {value} as {condition:?}"
            );
        }
        // Parsed from its own text, a filter is the same.
        let again = Filters::parse(Some(&value.to_string())).expect("accepted again");
        assert_eq!(again.conditions(), filters.conditions());
    }
    if let Err(BadFilter::UnknownKey { key }) = &found {
        assert!(key.chars().count() <= 32, "an unknown key is cut");
    }
    if let (Value::Object(fields), Err(BadFilter::UnknownKey { key })) = (&value, &found) {
        assert!(fields.keys().any(|sent| sent.starts_with(key.as_str())));
    }
});

/// Whether a key and its value can mean this condition.
fn is_condition(key: &str, value: &Value, condition: &Condition) -> bool {
    match condition {
        Condition::InstrumentIn(names) => {
            let sent = value.as_array().map(|items| {
                let names = items.iter().filter_map(Value::as_str);
                names.map(str::to_owned).collect::<Vec<_>>()
            });
            key == "instrument_in" && sent.as_ref() == Some(names)
        }
        Condition::StateIn(states) => {
            let sent = value.as_array().map_or(0, Vec::len);
            key == "job_state_in" && states.len() <= sent
        }
        Condition::ExperimentIn(numbers) => {
            let sent = value.as_array().map_or(0, Vec::len);
            key == "experiment_number_in" && numbers.len() <= sent
        }
        Condition::ExperimentAtMost(bound) => {
            key == "experiment_number_before" && near(value, *bound, f64::floor)
        }
        Condition::ExperimentAtLeast(bound) => {
            key == "experiment_number_after" && near(value, *bound, f64::ceil)
        }
        Condition::Contains(_, text) => {
            matches!(key, "title" | "filename") && text.chars().count() <= 256
        }
        Condition::Before(_, text) => key.ends_with("_before") && value.as_str() == Some(text),
        Condition::After(_, text) => key.ends_with("_after") && value.as_str() == Some(text),
    }
}

/// Whether a bound is the rounded number, or the end of the range of 64 bits.
fn near(value: &Value, bound: i64, round: fn(f64) -> f64) -> bool {
    let number = value
        .as_f64()
        .or_else(|| value.as_str()?.trim().replace('_', "").parse().ok());
    number.is_none_or(|number| {
        let rounded = round(number);
        let clamped = rounded.clamp(i64::MIN as f64, i64::MAX as f64);
        // Beyond 53 bits, a float is not exact.
        (bound as f64 - clamped).abs() <= clamped.abs() * 1e-9
    })
}
