//! What changes of whole rows do to a record, and what they append.

use sync_merge::{Record, RowPlanner, RowWrite, Verdict};
use sync_protocol::{ClientId, FieldName, Members, Millis, Op, UserId, Value};

const NOW: Millis = Millis(1_767_225_600_000);

/// A row of one field.
fn row(name: &str, value: &str) -> Members<FieldName, Value> {
    let name = FieldName::new(name).expect("a name");
    Members(vec![(name, Value::string(value))])
}

struct Device {
    user: UserId,
    client: ClientId,
}

impl Device {
    fn new() -> Self {
        Self {
            user: UserId::new("anna").expect("a name"),
            client: ClientId::new("phone").expect("a name"),
        }
    }

    fn planner(&self, records: Vec<Record>) -> RowPlanner<'_> {
        RowPlanner::new(&self.user, &self.client, NOW, records)
    }
}

fn upsert(version: i64, payload: &Members<FieldName, Value>) -> RowWrite<'_> {
    RowWrite {
        change: 0,
        op: Op::Insert,
        version,
        payload: Some(payload),
    }
}

fn delete(version: i64) -> RowWrite<'static> {
    RowWrite {
        change: 0,
        op: Op::Delete,
        version,
        payload: None,
    }
}

#[test]
fn rows_that_are_replaced_at_once_carry_no_copies() {
    let device = Device::new();
    let large = row("text", &"x".repeat(10_000));
    let mut planner = device.planner(vec![Record::default()]);
    assert_eq!(planner.write(0, upsert(0, &large)), Verdict::Applied(1));
    assert_eq!(planner.write(0, delete(1)), Verdict::Applied(2));
    let mut planner = device.planner(planner.finish().records);
    for version in 1..101 {
        let write = match version % 2 {
            1 => upsert(version + 1, &large),
            _ => delete(version + 1),
        };
        assert_eq!(planner.write(0, write), Verdict::Applied(version + 2));
    }
    let end = planner.write(0, upsert(102, &large));
    assert_eq!(end, Verdict::Applied(103));
    let plan = planner.finish();
    let values = plan.rows.iter().flat_map(|row| &row.fields);
    let bytes: usize = values.map(|(_, value, _)| value.as_str().len()).sum();
    assert!(bytes < 30_000, "{bytes}");
}

#[test]
fn a_row_in_which_nothing_differs_is_kept_until_the_next_one() {
    let device = Device::new();
    let same = row("n", "1");
    let mut planner = device.planner(vec![Record::default()]);
    for version in 0..3 {
        planner.write(0, upsert(version, &same));
    }
    let plan = planner.finish();
    assert_eq!(plan.rows.len(), 3);
    assert_eq!(plan.live_new_rows(), [0, 2].into());
    assert_eq!(plan.records[0].row(), Some(same));
}
