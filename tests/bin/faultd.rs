//! The scripted upstream as a program, for clients in other languages and for use by hand.

use std::io::Write;

use anyhow::Result;
use bridge_tests::faultd::{Faultd, canned};
use clap::Parser;

/// Serves scripted answers in the shape of OpenAI's chat completions.
#[derive(Parser)]
#[command(name = "faultd", after_help = canned::NAMES)]
struct Arguments {
    /// Where to listen; the address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let upstream = Faultd::bind(&arguments.listen).await?;
    writeln!(std::io::stdout(), "ready {}", upstream.base_url())?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
