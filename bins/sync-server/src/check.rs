//! `check`: the settings, the database and the keys are tried, and what works is said line by line.

use std::process::ExitCode;
use std::sync::Arc;

use sync_store::Finding;

use crate::commands::Command;
use crate::serve::{now, verifier};
use crate::settings::Settings;
use crate::{database, nodes};

/// Tries everything and prints a line for each; fails if one does not work.
pub(crate) async fn check(settings: &Settings) -> ExitCode {
    let mut report = Report::default();
    let faults = settings.faults(&Command::Check);
    if faults.is_empty() {
        report.works("settings", "every setting can be read");
    }
    faults
        .iter()
        .for_each(|fault| report.fails("settings", fault));
    settings.off().iter().for_each(|line| report.tell(line));
    match database::check(settings).await {
        Ok(findings) => findings.iter().for_each(|finding| match finding {
            Finding::Well(line) => report.works("database", line),
            Finding::Ill(line) => report.fails("database", line),
        }),
        Err(fault) => report.fails("database", &fault),
    }
    match nodes::check(settings).await {
        Ok(line) => report.works("notices", &line),
        Err(fault) => report.fails("notices", &fault),
    }
    keys(settings, &mut report).await;
    report.end()
}

async fn keys(settings: &Settings, report: &mut Report) {
    let verifier = match verifier(settings, None, Arc::new(now)) {
        Ok(verifier) => verifier,
        Err(fault) => return report.fails("keys", &fault),
    };
    for source in verifier.check().await {
        match source.outcome {
            Ok(found) => {
                let line = format!("{} has {} usable", source.source, found.usable);
                if found.usable == 0 {
                    report.fails("keys", &line)
                } else {
                    report.works("keys", &line)
                }
                found
                    .ignored
                    .iter()
                    .for_each(|key| report.tell(&format!("keys: ignored {key}")));
            }
            Err(fault) => report.fails("keys", &format!("{}: {fault}", source.source)),
        }
    }
}

#[derive(Default)]
struct Report {
    failed: usize,
}

impl Report {
    fn works(&mut self, part: &str, line: &str) {
        println!("ok      {part}: {line}");
    }

    fn tell(&mut self, line: &str) {
        println!("        {line}");
    }

    fn fails(&mut self, part: &str, line: &str) {
        self.failed += 1;
        println!("FAILED  {part}: {line}");
    }

    fn end(self) -> ExitCode {
        if self.failed == 0 {
            println!("everything works");
            return ExitCode::SUCCESS;
        }
        println!("{} of these must be mended first", self.failed);
        ExitCode::FAILURE
    }
}
