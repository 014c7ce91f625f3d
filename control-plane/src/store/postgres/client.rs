//! Connections, on a runtime of their own: the writer and readers block on it from
//! their threads, and nothing that happens elsewhere in the process slows it.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};

use super::{failure::Failure, lines::Lines};

/// Connections for readers; one more listens and one writes.
const POOL_CONNECTIONS_MAX: u32 = 10;
/// How long a reader waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// When an answer is given up. The server gives up sooner, if it is still there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Client {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    options: PgConnectOptions,
    pool: PgPool,
    lines: Lines,
}

impl Client {
    /// Connects to nothing yet.
    pub(super) fn start(options: PgConnectOptions) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-postgres")
            .enable_all()
            .build()
            .map_err(|error| Failure::Lasting(error.to_string()))?;
        let handle = runtime.handle().clone();
        let lines = Lines::default();
        let pool = {
            let (_inside, lines) = (handle.enter(), lines.clone());
            PgPoolOptions::new()
                .max_connections(POOL_CONNECTIONS_MAX)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(move |connection, metadata| lines.is_good(connection, metadata))
                .connect_lazy_with(options.clone())
        };
        Ok(Self {
            runtime: Some(runtime),
            handle,
            options,
            pool,
            lines,
        })
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(task));
    }

    /// A connection outside of the pool.
    pub(super) fn connect(&self) -> Result<PgConnection, Failure> {
        let connecting = async { timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&self.options)).await };
        self.handle
            .block_on(connecting)
            .map_err(|_| Failure::timeout())?
            .map_err(Failure::from)
    }

    /// Blocks until there is an answer.
    pub(super) fn wait<T>(&self, asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
        wait(&self.handle, asking)
    }

    /// The same without blocking.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        asking: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    ) -> Result<T, Failure> {
        let answer = self
            .handle
            .spawn(async move { timeout(ANSWER_TIMEOUT, asking).await });
        let answer = answer
            .await
            .map_err(|_| Failure::Passing("it was interrupted".to_owned()))?;
        answer.map_err(|_| Failure::timeout())?.map_err(Failure::from)
    }
}

/// Blocks until there is an answer.
pub(super) fn wait<T>(
    handle: &Handle,
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Failure> {
    let answer = handle.block_on(async { timeout(ANSWER_TIMEOUT, asking).await });
    answer.map_err(|_| Failure::timeout())?.map_err(Failure::from)
}

impl Drop for Client {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed where this may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
