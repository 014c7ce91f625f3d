//! Ends that do not come from the upstream: of the process, of the key, of our own making.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_cuts_what_still_runs() {
    let mut streaming = Stage::streaming();
    let mut waiting = Stage::waiting(futures_util::future::pending().boxed());
    streaming.next().await.unwrap();
    for stage in [&mut streaming, &mut waiting] {
        stage.life.cut();
        let rest = stage.rest().await;
        assert!(rest.contains("overloaded_error"), "{rest}");
    }
    assert!(streaming.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_ends_its_streams_within_two_seconds() {
    let mut streaming = Stage::streaming();
    streaming.next().await.unwrap();
    let begun = tokio::time::Instant::now();
    streaming.leash.end();
    let rest = streaming.rest().await;
    assert!(
        rest.contains("permission_error") && rest.contains("revoked"),
        "{rest}"
    );
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(streaming.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_waits_is_cut_as_well() {
    let mut stage = Stage::flooded(stream::repeat(delta("on and on")).take(10_000));
    stage.next().await.unwrap();
    stage.life.cut();
    let rest = stage.rest().await;
    assert!(rest.contains("overloaded_error"), "{} bytes", rest.len());
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_says_after_its_last_word_is_not_read_for_long() {
    const JUNK: Bytes = Bytes::from_static(&[b'\n'; 1024]);
    let read = Arc::new(AtomicUsize::new(0));
    let junk = stream::repeat(JUNK).take(10_000).inspect({
        let read = Arc::clone(&read);
        move |_| _ = read.fetch_add(1, Ordering::Relaxed)
    });
    let last = [finish(), Bytes::from_static(b"data: [DONE]\n\n")];
    let mut stage = Stage::flooded(stream::iter(last).chain(junk));
    assert!(stage.rest().await.contains("message_stop"));
    let read = read.load(Ordering::Relaxed);
    assert!(read <= LINGER_BYTES_MAX / JUNK.len() + 1, "{read} KiB");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_stream_is_told() {
    let metrics = Arc::new(Metrics::new());
    let meter = meter(&metrics);
    let walk = async move {
        let _meter = meter;
        panic!("a test's own panic")
    };
    let mut stage = Stage::waiting(walk.boxed());
    let rest = stage.rest().await;
    assert!(
        rest.contains("event: error") && rest.contains("api_error"),
        "{rest}"
    );
    assert_eq!(stage.upstreams.metrics.process.panics.get(), 1);
    let shown = metrics.render().unwrap();
    assert!(
        shown.contains(r#"status="500""#) && !shown.contains("499"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_content_ends_the_stream_in_one_error_and_leaves_the_upstream() {
    let mut stage = Stage::streaming();
    let first = stage.next().await.unwrap();
    assert!(first.contains("Once"), "{first}");
    stage.upstream.send(Ok(delta(" upon"))).unwrap();
    stage.upstream.send(Ok(Bytes::from_static(PANIC))).unwrap();
    stage.upstream.send(Ok(finish())).unwrap();
    let rest = stage.rest().await;
    assert_eq!(rest.matches("event: error").count(), 1, "{rest}");
    assert!(rest.contains("api_error"), "{rest}");
    assert!(
        !rest.contains("message_stop") && !rest.contains("message_delta"),
        "{rest}"
    );
    assert_eq!(stage.next().await, None);
    assert!(stage.upstream.is_closed(), "the call is given up");
    let metrics = &stage.upstreams.metrics;
    assert_eq!(metrics.process.panics.get(), 1);
    assert_eq!(metrics.process.requests_in_flight.get(), 0);
    let shown = metrics.render().unwrap();
    assert!(
        shown.contains(r#"status="500""#) && !shown.contains(r#"status="499""#),
        "{shown}"
    );
    assert_eq!(stage.failures(), [""; 0], "it says nothing about the provider");
}
