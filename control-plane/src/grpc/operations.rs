//! `OperationsService`: copies of the whole installation.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::operations_service_server::OperationsService;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::grpc::call::Call;
use crate::grpc::commits::Commits;
use crate::grpc::status::Error;
use crate::store::{BackupError, Store};

/// Largest part of a backup in one message.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Parts that wait for the connection to take them.
const CHUNK_QUEUE: usize = 4;
/// When to try again if a backup is being made.
const RETRY_AFTER: Duration = Duration::from_secs(10);

pub(crate) struct Operations {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    /// One backup at a time, since a moment of the store is in memory meanwhile.
    pub(crate) turn: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
}

#[tonic::async_trait]
impl OperationsService for Operations {
    type BackupStream = ReceiverStream<Result<admin::BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<admin::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let call = Call::of(&request)?;
        let turn = Arc::clone(&self.turn)
            .try_acquire_owned()
            .map_err(|_| Error::TooMany {
                retry_after: RETRY_AFTER,
            })?;
        // Who takes everything home is written down before they have it.
        self.commits
            .commit(Vec::new(), call.audit("installation"))
            .await?;
        let (chunks, stream) = mpsc::channel(CHUNK_QUEUE);
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let made = store.backup(Chunks(chunks.clone())).await;
            drop(turn);
            match made {
                Ok((revision, rows)) => tracing::info!(revision, rows, "backup made"),
                // Whoever asked may have gone, which ends it too.
                Err(error) => drop(chunks.send(Err(failed(error))).await),
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn failed(error: BackupError) -> Status {
    Error::internal(error).into()
}

/// Hands on what is written, as fast as it is taken. For a thread that may wait.
struct Chunks(mpsc::Sender<Result<admin::BackupResponse, Status>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = bytes.get(..CHUNK_BYTES_MAX).unwrap_or(bytes);
        let response = admin::BackupResponse {
            chunk: chunk.to_vec(),
        };
        self.0
            .blocking_send(Ok(response))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
