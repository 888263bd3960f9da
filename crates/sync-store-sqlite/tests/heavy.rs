//! P3 with threads: readers page with small pages while writers push, over three scopes.

mod heavy {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value as Json, json};
    use sync_store::contract::Device;
    use sync_store::{Role, Rules, Store};
    use sync_store_sqlite::SqliteStore;
    use tokio::task::JoinSet;

    const WRITERS: usize = 8;
    const READERS: usize = 8;
    const PUSHES: usize = 5_000;
    const FUTURE: &str = "2100-01-01T00:00:00.000000000Z";

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn readers_beside_writers_see_every_change_once() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let store = SqliteStore::open(folder.path().join("sync.db"), Rules::default());
        let store: Arc<dyn Store> = Arc::new(store.expect("a new database"));
        let anna = Device::new(&store, "anna", "first");
        for space in ["club", "team"] {
            anna.grant(space, Some(Role::Writer)).await;
        }
        let writing = Arc::new(AtomicUsize::new(WRITERS));
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let device = Device::new(&store, "anna", &format!("reader-{reader}"));
            readers.spawn(read(device, 3 + reader, Arc::clone(&writing)));
        }
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let device = Device::new(&store, "anna", &format!("writer-{writer}"));
            writers.spawn(write(device, writer, Arc::clone(&writing)));
        }
        let written: BTreeSet<String> = writers.join_all().await.into_iter().flatten().collect();
        for (seen, twice) in readers.join_all().await {
            assert_eq!(twice, 0, "no change comes twice");
            assert_eq!(
                written.difference(&seen).count(),
                0,
                "no change is passed over"
            );
        }
        println!(
            "{PUSHES} pushes, {} records, {READERS} readers: 0 skipped, 0 twice",
            written.len()
        );
    }

    /// Pushes new records into three scopes, and an update of one that all write, whose rows die young.
    async fn write(mut device: Device, writer: usize, writing: Arc<AtomicUsize>) -> Vec<String> {
        let mut written = Vec::new();
        for number in 0..PUSHES / WRITERS {
            device.now.0 += 1;
            let at = device.now.to_string();
            let space = [None, Some("club"), Some("team")][number % 3];
            let id = format!("{writer}-{number}");
            let shared = json!({"table": "counts", "id": "shared", "op": "update", "fields": {"n": {"value": number, "at": at}}});
            // From the future, so that its own answers bring nothing: the readers are what is looked at.
            FUTURE.clone_into(&mut device.since);
            device.push(json!([shared, insert(&id, space)])).await;
            written.push(id);
        }
        writing.fetch_sub(1, Ordering::SeqCst);
        written
    }

    fn insert(id: &str, space: Option<&str>) -> Json {
        let mut change = json!({"table": "tasks", "id": id, "op": "insert", "data": {"title": id}});
        if let Some(space) = space {
            change["spaceId"] = json!(space);
        }
        change
    }

    /// Pages until all writers have ended and nothing is left; the ids seen, and how many came more than once.
    async fn read(
        mut device: Device,
        limit: usize,
        writing: Arc<AtomicUsize>,
    ) -> (BTreeSet<String>, usize) {
        let (mut seen, mut twice) = (BTreeSet::new(), 0);
        loop {
            let was_last = writing.load(Ordering::SeqCst) == 0;
            let answer = device.page("", limit).await;
            for change in answer.server_changes {
                let is_new = seen.insert(change.id.as_str().to_owned());
                let is_shared = change.table.as_str() == "counts";
                twice += usize::from(!is_new && !is_shared);
            }
            if was_last && !answer.has_more {
                return (seen, twice);
            }
        }
    }
}
