//! The reporter against a control plane of the test's own.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bridge_proto::fleet::v1::usage_service_server::{UsageService, UsageServiceServer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response,
    transport::{Endpoint, Server},
};

use super::*;
use crate::{node, usage::recorder::tests as fixture};

const DEADLINE: Duration = Duration::from_secs(20);

/// Takes down every report, and answers the first ones with what it is told to.
struct Peer {
    refusals: Mutex<Vec<Status>>,
    seen: watch::Sender<Vec<proto::ReportRequest>>,
    node: Arc<Node>,
    /// Requests that end while a report is on its way, one each time.
    requests_left: AtomicUsize,
}

fn record(node: &Node) {
    let served = fixture::served(Some(fixture::key(1)), 5, 3);
    node.recorder.record(served);
}

#[tonic::async_trait]
impl UsageService for Peer {
    async fn report(
        &self,
        request: Request<proto::ReportRequest>,
    ) -> Result<Response<proto::ReportResponse>, Status> {
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer secret");
        let report = request.into_inner();
        let counted_sequence = report.sequence;
        let one_less = |left: usize| left.checked_sub(1);
        let left = &self.requests_left;
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
        {
            record(&self.node);
        }
        self.seen.send_modify(|seen| seen.push(report));
        match self.refusals.lock().unwrap().pop() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(proto::ReportResponse { counted_sequence })),
        }
    }
}

struct Bed {
    node: Arc<Node>,
    seen: watch::Receiver<Vec<proto::ReportRequest>>,
    served: CancellationToken,
    running: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl Bed {
    async fn start(refusals: Vec<Status>) -> Self {
        Self::start_in_traffic(refusals, 0).await
    }

    async fn start_in_traffic(refusals: Vec<Status>, requests: usize) -> Self {
        let (seen, reports) = watch::channel(Vec::new());
        let node = node::tests::node();
        let peer = Peer {
            refusals: Mutex::new(refusals),
            seen,
            node: Arc::clone(&node),
            requests_left: requests.into(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = tokio_util::task::TaskTracker::new();
        let server = tasks.spawn(async move {
            let server = Server::builder().add_service(UsageServiceServer::new(peer));
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let link = Link::new(channel, Some("Bearer secret".parse().unwrap()));
        let (_, links) = watch::channel(Some(link));
        let reporter = Reporter::new(&node, "node-1", "boot-1", links);
        let served = CancellationToken::new();
        Self {
            running: tasks.spawn(reporter.run(served.clone())),
            node,
            seen: reports,
            served,
            server,
        }
    }

    async fn reports(&mut self, count: usize) -> Vec<proto::ReportRequest> {
        let seen = timeout(DEADLINE, self.seen.wait_for(|seen| seen.len() >= count)).await;
        seen.unwrap().unwrap().clone()
    }

    fn record(&self) {
        record(&self.node);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.running.abort();
        self.server.abort();
    }
}

#[tokio::test]
async fn a_batch_goes_out_unchanged_until_it_is_counted() {
    let mut bed = Bed::start(vec![Status::unavailable("away"), Status::unavailable("away")]).await;
    bed.record();
    let first = bed.reports(1).await.remove(0);
    bed.record();
    let seen = bed.reports(4).await;
    assert_eq!(seen[..3], [first.clone(), first.clone(), first.clone()]);
    assert_eq!(
        (first.sequence, &*first.node_id, &*first.boot_id),
        (1, "node-1", "boot-1")
    );
    assert_eq!((seen[3].sequence, seen[3].rollups[0].requests), (2, 1));
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_is_told_as_dropped_by_the_next() {
    let mut bed = Bed::start(vec![Status::invalid_argument("what is this")]).await;
    bed.record();
    let seen = bed.reports(2).await;
    assert_eq!((seen[1].sequence, seen[1].rollups.len()), (2, 0));
    assert_eq!((seen[1].dropped_rollups, seen[1].dropped_requests), (1, 1));
}

#[tokio::test]
async fn while_requests_end_all_the_time_reports_keep_their_interval() {
    let mut bed = Bed::start_in_traffic(vec![], 1).await;
    bed.record();
    bed.reports(1).await;
    let reported_at = Instant::now();
    bed.reports(2).await;
    let pause = reported_at.elapsed();
    assert!(pause >= INTERVAL / 2, "{pause:?}");
}

#[tokio::test]
async fn what_ended_last_is_told_before_the_end() {
    let mut bed = Bed::start(vec![]).await;
    for n in 0..1_200 {
        bed.node
            .recorder
            .record(fixture::served(Some(fixture::key(n)), 5, 3));
    }
    bed.served.cancel();
    timeout(DEADLINE, &mut bed.running).await.unwrap().unwrap();
    let told: usize = bed.seen.borrow().iter().map(|report| report.rollups.len()).sum();
    assert_eq!(told, 1_200);
}
