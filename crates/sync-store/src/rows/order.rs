//! In which order the changes of an upload are looked at: as they came, but a row after the rows that it refers to, and a
//! delete after those of the tables that refer to its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use sync_protocol::RecordId;
use sync_protocol::rows::RowEdit;

use super::references::parents;
use super::{RowTables, TableKey};

/// The places of the changes, in the order in which they are looked at. Where rows refer to each other in a circle, the first
/// of them comes first.
pub(super) fn order(edits: &[(usize, &RowEdit)], tables: &RowTables) -> Vec<usize> {
    if !tables.has_references() {
        return edits.iter().map(|(place, _)| *place).collect();
    }
    let mut graph = Graph::new(edits.len());
    let mut last: HashMap<(TableKey, &RecordId), usize> = HashMap::new();
    let mut upserts: HashMap<(TableKey, &RecordId), usize> = HashMap::new();
    let mut deletes: BTreeMap<TableKey, Vec<usize>> = BTreeMap::new();
    for (node, (_, edit)) in edits.iter().enumerate() {
        let row = (key(edit), &edit.record);
        if let Some(before) = last.insert(row.clone(), node) {
            graph.edge(before, node);
        }
        match edit.payload {
            Some(_) => {
                upserts.entry(row).or_insert(node);
            }
            None => deletes.entry(row.0).or_default().push(node),
        }
    }
    for (node, (_, edit)) in edits.iter().enumerate() {
        for parent in parents(edit, tables) {
            let row = (parent.table, &parent.record);
            if let Some(first) = upserts.get(&row).filter(|first| **first != node) {
                graph.edge(*first, node);
            }
        }
    }
    for (child, children) in &deletes {
        let Some(described) = tables.find(&child.0, &child.1) else {
            continue;
        };
        // One node between all of them and all of those: the edges stay few.
        let done = graph.node();
        for node in children {
            graph.edge(*node, done);
        }
        let parents = described.references.values();
        let parents = parents.filter(|parent| *parent != child);
        for node in parents.filter_map(|parent| deletes.get(parent)).flatten() {
            graph.edge(done, *node);
        }
    }
    let sorted = graph.sorted();
    let own = sorted.into_iter().filter_map(|node| edits.get(node));
    own.map(|(place, _)| *place).collect()
}

fn key(edit: &RowEdit) -> TableKey {
    (edit.app.clone(), edit.table.clone())
}

/// What comes after what.
struct Graph {
    after: Vec<Vec<usize>>,
    waits: Vec<usize>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        Self {
            after: vec![Vec::new(); nodes],
            waits: vec![0; nodes],
        }
    }

    fn node(&mut self) -> usize {
        self.after.push(Vec::new());
        self.waits.push(0);
        self.waits.len() - 1
    }

    fn edge(&mut self, before: usize, after: usize) {
        self.after[before].push(after);
        self.waits[after] += 1;
    }

    /// All nodes, each as early as its number and the edges let it be; a circle is entered at its first node.
    fn sorted(mut self) -> Vec<usize> {
        let nodes = self.waits.len();
        let free = (0..nodes).filter(|node| self.waits[*node] == 0);
        let mut free: BinaryHeap<_> = free.map(Reverse).collect();
        let mut is_done = vec![false; nodes];
        let mut sorted = Vec::with_capacity(nodes);
        let mut first = 0;
        while sorted.len() < nodes {
            let Some(Reverse(node)) = free.pop() else {
                while is_done[first] {
                    first += 1;
                }
                free.push(Reverse(first));
                continue;
            };
            if std::mem::replace(&mut is_done[node], true) {
                continue;
            }
            sorted.push(node);
            for after in std::mem::take(&mut self.after[node]) {
                self.waits[after] -= 1;
                if self.waits[after] == 0 {
                    free.push(Reverse(after));
                }
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_entered_at_its_first_node_and_holds_up_nothing() {
        let mut graph = Graph::new(5);
        for (before, after) in [(4, 0), (1, 2), (2, 1), (2, 3)] {
            graph.edge(before, after);
        }
        assert_eq!(graph.sorted(), [4, 0, 1, 2, 3]);
    }
}
