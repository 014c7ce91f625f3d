//! The scripted upstream as a program, for clients in other languages and for use by hand; and a
//! fault proxy before a real server.

use std::io::Write;

use anyhow::Result;
use bridge_tests::faultd::{Faultd, canned};
use clap::Parser;

/// Serves scripted answers in the shapes of OpenAI's chat completions and of Anthropic's messages,
/// or a real server's answers, with faults that the model's name asks for.
#[derive(Parser)]
#[command(name = "faultd", after_help = canned::help())]
struct Arguments {
    /// Where to listen; the address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,

    /// Passes on what this server says, say `http://127.0.0.1:8080`. It is asked for the model
    /// before the first `~` of the name; the faults behind it happen to its answer.
    #[arg(long)]
    upstream: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let upstream = match &arguments.upstream {
        Some(server) => Faultd::bind_before(&arguments.listen, server).await?,
        None => Faultd::bind(&arguments.listen).await?,
    };
    writeln!(std::io::stdout(), "ready {}", upstream.base_url())?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
