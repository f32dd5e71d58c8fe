//! Subscriptions to the log.

use xcomponent_core::record::Body;
use xcomponent_host::driver::{Error, Position, RecordFilter};

use crate::world::{PATIENCE, Setup, World, sending, soon};

const COUNTER: &str = r"
name: Count
version: '1'
stateMachines:
  - name: Counter
    initialState: Counting
    states: [{name: Counting}]
    transitions:
      - {from: Counting, to: Counting, event: UP}
";

#[tokio::test]
async fn a_stream_has_every_record_once_in_order_wherever_it_begins() {
    let world = World::start(COUNTER, Setup::default()).await;
    let counter = world.create("Counter", 0, "{}").await;
    let mut early =
        world
            .handle
            .subscribe(&world.tenant, RecordFilter::default(), Some(Position(0)));
    let ups = |n| {
        std::iter::repeat_with(|| sending(&counter, "UP"))
            .take(n)
            .collect::<Vec<_>>()
    };
    let first = world.handle.request_batch(&world.tenant, ups(3_000)).await;
    let middle = world.handle.durable_position();
    let mut late = world
        .handle
        .subscribe(&world.tenant, RecordFilter::default(), Some(middle));
    let second = world.handle.request_batch(&world.tenant, ups(3_000)).await;
    assert_eq!(first.len() + second.len(), 6_000);

    let mut seqs = Vec::new();
    while seqs.len() < 6_001 {
        for entry in soon(early.next()).await.unwrap() {
            let Body::Handled(handled) = &entry.record.body else {
                panic!("only transitions")
            };
            seqs.push(handled.after.seq);
        }
    }
    assert_eq!(seqs, (1..=6_001).collect::<Vec<_>>());
    let next = soon(late.next()).await.unwrap();
    assert!(next[0].position > middle);
    let Body::Handled(handled) = &next[0].record.body else {
        panic!("only transitions")
    };
    assert_eq!(handled.after.seq, 3_002);
}

#[tokio::test]
async fn a_stream_ends_with_the_driver() {
    let world = World::start(COUNTER, Setup::default()).await;
    let mut records = world
        .handle
        .subscribe(&world.tenant, RecordFilter::default(), None);
    let joiner = world.joiner;
    let waiting = tokio::spawn(async move { records.next().await });
    tokio::task::spawn_blocking(move || joiner.shutdown(PATIENCE))
        .await
        .unwrap();
    assert!(matches!(
        soon(waiting).await.unwrap(),
        Err(Error::Unavailable(_))
    ));
}
