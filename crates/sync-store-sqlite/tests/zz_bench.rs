use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use sync_store::contract::Device;
use sync_store::{Rules, Store};
use sync_store_sqlite::SqliteStore;
use tokio::task::JoinSet;

async fn run(store: &Arc<dyn Store>, name: &str, conns: usize, per: usize, pushes: usize) {
    let mut set = JoinSet::new();
    let mut all = Vec::new();
    for c in 0..conns {
        let mut d = Device::new(store, &format!("{name}-{c}"), "phone");
        // prepared pushes
        let mut list = Vec::new();
        for n in 0..pushes {
            let at =
                |k: usize| format!("2025-02-01T10:{:02}:{:02}.{:03}Z", (n / 60) % 60, n % 60, k);
            let changes: Vec<_> = (0..per).map(|r| json!({"table":"tasks","id":format!("r{}", (n*per + r) % 5000),"op":"update","fields":{
                "title":{"value":format!("a title of some length {n}"),"at":at(1),"updatedAt":at(1)},
                "done":{"value":true,"at":at(1),"updatedAt":at(1)},
                "order":{"value":n,"at":at(1),"updatedAt":at(1)}}})).collect();
            list.push(d.read(&serde_json::to_string(&changes).unwrap()));
        }
        all.push((d, list));
    }
    let t = Instant::now();
    for (_d, list) in all {
        let store = store.clone();
        set.spawn(async move {
            let mut lat = Vec::new();
            let mut since = Default::default();
            for mut p in list {
                let t = Instant::now();
                p.since = since;
                let a = store.push(p).await.unwrap();
                since = sync_store::Cursor::parse(&a.answer.synced_until);
                lat.push(t.elapsed());
            }
            lat
        });
    }
    let mut lat: Vec<_> = set.join_all().await.into_iter().flatten().collect();
    let el = t.elapsed();
    lat.sort();
    println!(
        "{name}: {per} x {conns}: {:.0} changes/s, {:.0} pushes/s, p50 {:?} p99 {:?}",
        (conns * per * pushes) as f64 / el.as_secs_f64(),
        (conns * pushes) as f64 / el.as_secs_f64(),
        lat[lat.len() / 2],
        lat[lat.len() * 99 / 100]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, Rules::default()).unwrap());
    if false {
    run(&store, "big", 8, 200, 60).await;
    run(&store, "one", 1, 1, 2000).await;
    run(&store, "small", 32, 1, 600).await;
    run(&store, "mid", 8, 20, 200).await;
    }
    let mut d = Device::new(&store, "hyd", "phone");
    for n in 0..500 {
        let changes: Vec<_> = (0..200).map(|r| json!({"table":"tasks","id":format!("r{}", n*200 + r),"op":"insert","data":{"title":format!("a title of some length {n}"),"done":true,"order":n,"updatedAt":"2025-02-01T10:00:00.000Z"}})).collect();
        d.push(changes.into()).await;
    }
    for _ in 0..20 {
        let mut new = Device::new(&store, "hyd", "tab");
        let t = Instant::now();
        let mut rows = 0;
        loop {
            let a = new.page("", 1000).await;
            rows += a.server_changes.len();
            if !a.has_more {
                break;
            }
        }
        println!(
            "hydrate {rows} rows: {:.0} rows/s",
            rows as f64 / t.elapsed().as_secs_f64()
        );
        let t = Instant::now();
        for _ in 0..50 {
            new.page("", 1000).await;
        }
        println!("empty pull p: {:?}", t.elapsed() / 5000);
        let mut set = JoinSet::new();
        let t = Instant::now();
        for _ in 0..8 {
            let mut new = new.clone();
            set.spawn(async move {
                for _ in 0..50 {
                    new.page("", 1000).await;
                }
            });
        }
        set.join_all().await;
        println!(
            "empty pulls x8: {:.0}/s",
            40000.0 / t.elapsed().as_secs_f64()
        );
    }
    println!(
        "wal {} db {}",
        std::fs::metadata(path.with_file_name("sync.db-wal"))
            .unwrap()
            .len(),
        std::fs::metadata(&path).unwrap().len()
    );
}
