//! `cargo xtask services`: the services beside the sync server, played by hand until Ctrl-C.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use test_services::{Request, Script, Service, Services};
use tokio::runtime::Builder;

use crate::Outcome;

/// The key that they ask for: it opens nothing but what is played here.
const SERVICE_KEY: &str = "played-by-xtask-services";

/// What `cargo xtask services` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The port to listen on; a free one if it is not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What to play, as JSON: "memberships" by user, "inactive" users, and "moods", each from a number of seconds on.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

/// Plays both services, prints what a server needs to ask them, and then every request.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let script = arguments.script.as_deref().map(read).transpose()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let services = Services::start_on(arguments.port).await;
        let services = services
            .map_err(|error| format!("cannot listen on port {}: {error}", arguments.port))?;
        services.require_key(SERVICE_KEY);
        print_settings(&services.url());
        tokio::select! {
            () = play(&services, script.unwrap_or_default()) => {}
            () = tell(&services) => {}
            ended = tokio::signal::ctrl_c() => ended?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn read(path: &Path) -> Result<Script, Box<dyn Error>> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the script {}: {error}", path.display()))?;
    let script = Script::parse(&text)
        .map_err(|error| format!("the script {} is wrong: {error}", path.display()))?;
    Ok(script)
}

fn print_settings(url: &str) {
    println!("export MANA_AUTH_URL={url}");
    println!("export MANA_CREDITS_URL={url}");
    println!("export MANA_SERVICE_KEY={SERVICE_KEY}");
    eprintln!();
    eprintln!(
        "The services are at {url}. Copy the lines above into another terminal and start a server there."
    );
    eprintln!("Ctrl-C stops them.");
}

async fn play(services: &Services, script: Script) {
    services.play(&script).await;
    eprintln!("the script is over; the services stay as they are");
    std::future::pending().await
}

/// Prints each request as it comes.
async fn tell(services: &Services) {
    let mut told = 0;
    loop {
        let total = services.asked_again(told).await;
        let requests = services.requests();
        let fresh = requests.len().saturating_sub(total - told);
        for request in &requests[fresh..] {
            eprintln!("{}", line(request));
        }
        told = total;
    }
}

fn line(request: &Request) -> String {
    let service = match request.service {
        Some(Service::Billing) => "billing",
        Some(Service::Memberships) => "memberships",
        None => "no such path",
    };
    let key = match request.header("x-service-key") {
        Some(SERVICE_KEY) => "",
        Some(_) => " (a wrong key)",
        None => " (without a key)",
    };
    format!("{service}: {} {}{key}", request.method, request.path)
}
