//! How often a stream writes while the processor is behind.

use super::*;

#[tokio::test(start_paused = true)]
async fn under_pressure_pieces_that_follow_one_another_leave_together() {
    let mut stage = Stage::streaming();
    stage.pressure.set(true);
    let started = Instant::now();
    assert!(stage.next().await.unwrap().contains("Once"));
    for piece in [" upon", " a"] {
        stage.upstream.send(Ok(delta(piece))).unwrap();
        assert!(stage.relay.frame().now_or_never().is_none());
    }
    let both = stage.next().await.unwrap();
    assert!(both.contains(" upon") && both.contains(" a"), "{both}");
    let waited = started.elapsed().as_millis();
    assert!((40..=41).contains(&waited), "{waited} ms");

    sleep(Duration::from_millis(50)).await;
    stage.upstream.send(Ok(delta(" time"))).unwrap();
    let alone = stage.relay.frame().now_or_never();
    assert!(alone.is_some(), "one that comes alone waits for nobody");

    stage.upstream.send(Ok(delta(" there"))).unwrap();
    assert!(stage.relay.frame().now_or_never().is_none());
    stage.upstream.send(Ok(finish())).unwrap();
    stage
        .upstream
        .send(Ok(Bytes::from_static(b"data: [DONE]\n\n")))
        .unwrap();
    let end = stage.relay.frame().now_or_never();
    let end = end.flatten().unwrap().unwrap().into_data().unwrap();
    let end = String::from_utf8(end.to_vec()).unwrap();
    assert!(end.contains(" there") && end.contains("message_stop"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_turn_comes_late_keeps_its_place_in_time() {
    let mut stage = Stage::streaming();
    stage.pressure.set(true);
    let started = Instant::now();
    stage.next().await.unwrap();
    stage.upstream.send(Ok(delta(" upon"))).unwrap();
    assert!(stage.relay.frame().now_or_never().is_none());
    sleep(Duration::from_millis(65)).await;
    let late = stage.relay.frame().now_or_never();
    assert!(late.is_some(), "due after 40 ms");

    stage.upstream.send(Ok(delta(" a"))).unwrap();
    stage.next().await.unwrap();
    let waited = started.elapsed().as_millis();
    assert!((80..=81).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn when_the_pressure_is_gone_pieces_leave_as_they_come() {
    let mut stage = Stage::streaming();
    stage.pressure.set(true);
    stage.next().await.unwrap();
    stage.upstream.send(Ok(delta(" upon"))).unwrap();
    assert!(stage.relay.frame().now_or_never().is_none());
    stage.pressure.set(false);
    for piece in [" a", " time"] {
        stage.upstream.send(Ok(delta(piece))).unwrap();
        let text = stage.relay.frame().now_or_never().flatten();
        assert!(text.is_some(), "{piece}");
    }
}
