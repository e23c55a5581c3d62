//! Listings against a model, and the plan that SQLite makes for them.

use std::collections::{BTreeMap, BTreeSet};

use sys::{Random, SeededRandom};

use super::fixture::{Machine, bucket, create_upload, put_inline, upload_id};
use crate::WriteCondition;
use crate::query::{ListEntry, ListPage, ListQuery, UploadEntry, UploadQuery};
use crate::state::first_key;

fn list(machine: &Machine, query: &ListQuery) -> ListPage {
    let low = first_key(&query.prefix, query.after.as_deref());
    machine.ask(|view| view.list(bucket(1), query, low)).unwrap().page
}

/// What a listing must be, by the words of `ListQuery`.
fn model(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, bool) {
    let mut texts = BTreeSet::new();
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let rolled = query.delimiter.as_ref().and_then(|delimiter| {
            rest.find(delimiter.as_str())
                .map(|at| key[..query.prefix.len() + at + delimiter.len()].to_owned())
        });
        texts.insert(rolled.unwrap_or_else(|| key.clone()));
    }
    let after = query.after.clone().unwrap_or_default();
    let mut texts: Vec<String> =
        texts.into_iter().filter(|text| query.after.is_none() || *text > after).collect();
    let truncated = query.limit > 0 && texts.len() > query.limit;
    texts.truncate(query.limit);
    (texts, truncated)
}

fn word(random: &SeededRandom) -> String {
    let letters = ['a', 'b', '/', 'é', '\u{10ffff}'];
    (0..1 + random.below(5)).map(|_| letters[usize::try_from(random.below(5)).unwrap()]).collect()
}

#[test]
fn listings_equal_the_model_for_every_prefix_delimiter_and_start() {
    for seed in 0..12 {
        let random = SeededRandom::new(seed);
        let mut machine = Machine::with_bucket(1);
        machine.open_bucket(2);
        let mut keys = BTreeSet::new();
        for number in 0..60 {
            let key = word(&random);
            machine.command(put_inline(&key, number, b"x", WriteCondition::None)).unwrap();
            keys.insert(key);
        }
        for _ in 0..150 {
            let some = |random: &SeededRandom| (random.below(3) > 0).then(|| word(random));
            let query = ListQuery {
                prefix: some(&random).map(|word| word.chars().take(2).collect()).unwrap_or_default(),
                delimiter: match random.below(4) {
                    0 => None,
                    1 => Some("b/".to_owned()),
                    _ => Some("/".to_owned()),
                },
                after: some(&random),
                limit: usize::try_from(random.below(12)).unwrap(),
            };
            let page = list(&machine, &query);
            let texts: Vec<String> = page.entries.iter().map(|entry| entry.text().to_owned()).collect();
            assert_eq!((texts, page.truncated), model(&keys, &query), "seed {seed}: {query:?} of {keys:?}");
        }
    }
}

#[test]
fn paging_gives_every_entry_once() {
    let random = SeededRandom::new(7);
    let mut machine = Machine::with_bucket(1);
    let mut keys = BTreeSet::new();
    for number in 0..200 {
        let key = format!("{}/{}", random.below(12), word(&random));
        machine.command(put_inline(&key, number, b"x", WriteCondition::None)).unwrap();
        keys.insert(key);
    }
    for delimiter in [None, Some("/".to_owned())] {
        let mut query = ListQuery { delimiter: delimiter.clone(), limit: 7, ..ListQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = list(&machine, &query);
            all.extend(page.entries.iter().map(|entry| entry.text().to_owned()));
            query.after = all.last().cloned();
            if !page.truncated {
                break;
            }
        }
        let whole = ListQuery { delimiter, limit: 10_000, ..ListQuery::default() };
        assert_eq!(all, model(&keys, &whole).0);
    }
}

#[test]
fn a_listing_reads_as_many_rows_as_it_gives() {
    let mut machine = Machine::with_bucket(1);
    let mut number = 0;
    for folder in 0..20 {
        let proposals: Vec<_> = (0..200)
            .map(|file| {
                number += 1;
                let command =
                    put_inline(&format!("{folder:02}/{file:04}"), number, b"x", WriteCondition::None);
                machine.proposal(crate::state::Action::Object(command))
            })
            .collect();
        assert!(machine.apply(&proposals).iter().all(Result::is_ok));
    }
    // The plan is a range of the primary key: no sort, no scan of the table.
    let plan: Vec<String> = machine
        .ask(|view| {
            let mut statement = view.connection.prepare(
                "EXPLAIN QUERY PLAN SELECT key, row FROM object WHERE bucket = ?1 AND key >= ?2 ORDER BY key, age",
            )?;
            let rows = statement.query_map([b"a", b"b"], |row| row.get::<_, String>(3))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .unwrap();
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert!(plan[0].contains("SEARCH object USING PRIMARY KEY (bucket=? AND key>?)"), "{plan:?}");
    let query = ListQuery { delimiter: Some("/".to_owned()), limit: 100, ..ListQuery::default() };
    let page = list(&machine, &query);
    let expected: Vec<ListEntry> = (0..20).map(|folder| ListEntry::Prefix(format!("{folder:02}/"))).collect();
    assert_eq!(page.entries, expected);
}

#[test]
fn uploads_are_listed_by_key_and_id_with_both_markers() {
    let mut machine = Machine::with_bucket(1);
    let mut model: BTreeMap<(String, u64), ()> = BTreeMap::new();
    for number in 0..30u64 {
        let key = format!("k{}", number % 6);
        machine.command(create_upload(&key, number)).unwrap();
        model.insert((key, number), ());
    }
    let mut query = UploadQuery { limit: 4, ..UploadQuery::default() };
    let mut seen = Vec::new();
    loop {
        let low = match (&query.key_after, query.upload_after) {
            (Some(after), Some(_)) => after.as_bytes().to_vec(),
            _ => first_key("", query.key_after.as_deref()),
        };
        let page = machine.ask(|view| view.list_uploads(bucket(1), &query, low)).unwrap().page;
        for entry in &page.entries {
            let UploadEntry::Upload { key, upload } = entry else { panic!("{entry:?}") };
            seen.push((key.as_str().to_owned(), upload.upload));
        }
        let (key, upload) = seen.last().cloned().unwrap();
        (query.key_after, query.upload_after) = (Some(key), Some(upload));
        if !page.truncated {
            break;
        }
    }
    let expected: Vec<_> = model.keys().map(|(key, number)| (key.clone(), upload_id(*number))).collect();
    assert_eq!(seen, expected);
    // A key alone means: after all uploads of that key.
    let query = UploadQuery { key_after: Some("k4".to_owned()), limit: 100, ..UploadQuery::default() };
    let low = first_key("", Some("k4"));
    let page = machine.ask(|view| view.list_uploads(bucket(1), &query, low)).unwrap().page;
    assert_eq!(page.entries.len(), 5);
}
