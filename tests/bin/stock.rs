//! Servers as their libraries give them, with nothing around: what ours are held against.

use std::io::Write;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

#[derive(Parser)]
#[command(name = "stock")]
struct Arguments {
    library: Library,

    /// Where to listen; the address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

#[derive(Clone, ValueEnum)]
enum Library {
    Axum,
    Tonic,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { library, listen } = Arguments::parse();
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "ready {}", listener.local_addr()?)?;
    match library {
        Library::Axum => {
            let hello = get(|| async { "hello" });
            axum::serve(listener, Router::new().route("/", hello)).await?;
        }
        Library::Tonic => {
            let incoming = TcpIncoming::from(listener);
            let server = Server::builder().add_routes(Routes::default());
            server.serve_with_incoming(incoming).await?;
        }
    }
    Ok(())
}
