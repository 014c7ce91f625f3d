//! What any keeper of rows owes, below everything that the store makes of it.

use std::{collections::BTreeMap, time::Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;
use crate::store::{
    backend::{Backend, View},
    rows::{Order, Row, Rows, Span},
    write_set::Writes,
};

/// Families that the rest of the store puts nothing into by itself.
const FAMILIES: [Family; 2] = [Family::Sessions, Family::Idempotency];
const SEED: u64 = 20_261_123;

type Model = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

/// A view from a thread that may block.
fn view(backend: &dyn Backend) -> View {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(backend.view()).unwrap()
}

fn on_each(check: fn(&Home)) {
    check(&Home::new());
    if let Some(home) = Home::in_database() {
        check(&home);
    }
}

/// Keys share beginnings, and some are the beginning of others.
fn key(random: &mut SmallRng) -> Vec<u8> {
    let length = random.random_range(1..4);
    (0..length)
        .map(|_| [0, 1, 0x7f, 0xfe, 0xff][random.random_range(0..5)])
        .collect()
}

fn span(random: &mut SmallRng) -> Span {
    match random.random_range(0..4) {
        0 => Span::all(),
        1 => Span::from(&key(random)),
        2 => Span::prefix(&key(random)[..1]),
        _ => Span {
            from: key(random),
            below: Some(key(random)),
        },
    }
}

fn expected(model: &Model, family: Family, span: &Span, order: Order) -> Vec<Row> {
    let mut rows: Vec<Row> = model
        .iter()
        .filter(|((of, key), _)| {
            *of == family && *key >= span.from && span.below.as_ref().is_none_or(|below| key < below)
        })
        .map(|((_, key), value)| Row {
            key: key.clone(),
            value: value.clone(),
        })
        .collect();
    if order == Order::Descending {
        rows.reverse();
    }
    rows
}

fn compare(rows: &dyn Rows, model: &Model, random: &mut SmallRng) {
    for family in FAMILIES {
        let (span, key) = (span(random), key(random));
        assert_eq!(
            rows.get(family, &key).unwrap().as_ref(),
            model.get(&(family, key.clone()))
        );
        for order in [Order::Ascending, Order::Descending] {
            let found: Vec<Row> = rows
                .scan(family, span.clone(), order)
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(found, expected(model, family, &span, order), "{span:?} {order:?}");
        }
    }
}

#[test]
fn rows_are_read_as_they_were_written() {
    on_each(|home| {
        let mut random = SmallRng::seed_from_u64(SEED);
        let mut model = Model::new();
        let mut parts = home.parts();
        for round in 1..=150 {
            let batch = parts.ledger.begin().unwrap();
            compare(batch.rows(), &model, &mut random);
            let mut writes = WriteSet::on(batch.rows());
            let mut next = model.clone();
            for _ in 0..random.random_range(0..20) {
                let (family, key) = (FAMILIES[random.random_range(0..2)], key(&mut random));
                if random.random_bool(0.3) {
                    writes.delete(family, &key);
                    next.remove(&(family, key));
                } else {
                    let value = vec![round as u8; random.random_range(0..300)];
                    writes.put(family, &key, value.clone()).unwrap();
                    next.insert((family, key), value);
                }
            }
            compare(&writes, &next, &mut random);
            let above = WriteSet::on(&writes);
            compare(&above, &next, &mut random);
            drop(above);
            let mut head = Head::load(batch.rows()).unwrap().unwrap();
            head.digest = writes.digest_after(head.digest).unwrap();
            head.write(&mut writes).unwrap();
            let writes = writes.into_writes();
            if random.random_bool(0.1) {
                drop(batch);
            } else {
                batch.write(writes, 0).unwrap();
                model = next;
            }
            compare(view(parts.backend.as_ref()).rows.as_ref(), &model, &mut random);
            if random.random_bool(0.05) {
                drop(parts);
                parts = home.parts();
            }
        }
    });
}

#[test]
fn the_revision_is_told_with_the_write_and_read_in_each_view() {
    on_each(|home| {
        let mut parts = home.parts();
        let batch = parts.ledger.begin().unwrap();
        let mut head = Head::load(batch.rows()).unwrap().unwrap();
        head.revision = 7;
        let mut writes = WriteSet::on(batch.rows());
        head.write(&mut writes).unwrap();
        let writes = writes.into_writes();
        assert_eq!(*parts.revision.borrow(), 0);
        batch.write(writes, head.revision).unwrap();
        assert_eq!(*parts.revision.borrow(), 7);
        assert_eq!(view(parts.backend.as_ref()).revision, 7);
    });
}

#[test]
fn thousands_of_small_rows_are_one_write() {
    const ROWS: u32 = 10_000;
    on_each(|home| {
        let mut parts = home.parts();
        for value in [b"first", b"again"] {
            let writes: Writes = (0..ROWS)
                .map(|n| ((Family::Sessions, n.to_be_bytes().to_vec()), Some(value.to_vec())))
                .collect();
            let started = Instant::now();
            parts.ledger.begin().unwrap().write(writes, 0).unwrap();
            println!("{ROWS} rows in {:?}", started.elapsed());
        }
        let view = view(parts.backend.as_ref());
        let rows = view.rows.scan(Family::Sessions, Span::all(), Order::Ascending);
        let rows: Vec<Row> = rows.collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), ROWS as usize);
        assert!(rows.iter().all(|row| row.value == b"again"));
    });
}
