//! `rohas doctor`: has the project everything it needs to run?

mod events;

use std::fmt;
use std::net::TcpListener;
use std::process::Command;

use clap::Args;
use rohas_config::schema::Diagnostic;
use rohas_config::settings::Settings;
use rohas_handlers_host::python::{EXTENSION, Interpreter};
use rohas_telemetry::Store;
use serde::Serialize;

use crate::cli::{Common, Failure, Outcome, block_on, print_json};
use crate::control::{Client, Status};
use crate::environment;
use crate::project::{Project, Unsound};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, found: found.into(), remedy: None }
    }

    fn bad(name: &'static str, found: impl Into<String>, remedy: &str) -> Self {
        Self { name, verdict: Verdict::Bad, found: found.into(), remedy: Some(remedy.to_owned()) }
    }

    fn warning(name: &'static str, found: impl Into<String>, remedy: &str) -> Self {
        Self { verdict: Verdict::Warning, ..Self::bad(name, found, remedy) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Warning => "warn",
            Verdict::Bad => "BAD ",
        };
        write!(formatter, "{mark}  {:<13} {}", self.name, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, "\n      {:<13} -> {remedy}", ""),
            None => Ok(()),
        }
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let project = common.project(None, environment::overrides())?;
    let checks = checks(&project)?;
    let bad = checks.iter().filter(|check| check.verdict == Verdict::Bad).count();
    if arguments.json {
        print_json(&checks)?;
    } else {
        checks.iter().for_each(|check| outln!("{check}"));
    }
    if bad > 0 { Err(anyhow::anyhow!("{bad} of {} checks failed", checks.len()).into()) } else { Ok(()) }
}

fn checks(project: &Project) -> Result<Vec<Check>, Failure> {
    let settings = match project.settings() {
        Ok(loaded) => loaded.settings,
        Err(error) => {
            let text = Unsound::Settings(error).render(false);
            return Ok(vec![Check::bad("settings", text.trim(), "mend config/rohas.toml")]);
        }
    };
    let status = block_on(async {
        match Client::connect(&project.root).await? {
            Some(mut client) => client.status().await.map(Some),
            None => Ok(None),
        }
    })??;
    let mut checks = vec![Check::good("settings", "config/rohas.toml is valid"), schema(project, &settings)];
    checks.extend(python(project, &settings)?);
    checks.push(daemon(status.as_ref()));
    checks.push(port(&settings, status.as_ref()));
    checks.push(store(project, &settings, status.as_ref()));
    checks.extend(events::checks(project, &settings, status.as_ref()));
    Ok(checks)
}

fn schema(project: &Project, settings: &Settings) -> Check {
    match project.check(settings, false) {
        Err(error) => Check::bad("schema", error.to_string(), "add .ro files below schema/"),
        Ok(checked) => {
            let errors = checked.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
            let warnings: Vec<&Diagnostic> = checked.diagnostics.iter().filter(|found| !found.is_error()).collect();
            match (errors, warnings.len()) {
                (0, 0) => Check::good("schema", "no findings"),
                (0, count) => Check::warning("schema", format!("{count} warnings"), "see `rohas validate`"),
                (count, _) => Check::bad("schema", format!("{count} errors"), "see `rohas validate`"),
            }
        }
    }
}

fn python(project: &Project, settings: &Settings) -> Result<Vec<Check>, Failure> {
    let surroundings = environment::surroundings()?;
    let extension = surroundings.executable.with_file_name(EXTENSION);
    let extension_check = if extension.is_file() {
        Check::good("extension", extension.display().to_string())
    } else {
        Check::bad("extension", format!("{} is missing", extension.display()), "reinstall rohas")
    };
    let interpreter = match surroundings.interpreter(&project.root, settings) {
        Ok(interpreter) => interpreter,
        Err(error) => {
            let remedy = error.remedy().unwrap_or("reinstall rohas");
            return Ok(vec![Check::bad("python", error.to_string(), remedy), extension_check]);
        }
    };
    Ok(vec![version(&interpreter), pydantic(&interpreter), extension_check])
}

fn version(interpreter: &Interpreter) -> Check {
    let path = interpreter.path.display();
    match ask(interpreter, "import sys; print('%d.%d.%d' % sys.version_info[:3])") {
        Err(error) => Check::bad("python", format!("{path} does not run: {error}"), "choose another interpreter"),
        Ok(version) => {
            let minor = version.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
            let found = format!("{version} at {path} ({})", interpreter.origin);
            match minor {
                Some(10..) => Check::good("python", found),
                _ => Check::bad("python", found, "rohas needs CPython 3.10 or newer"),
            }
        }
    }
}

fn pydantic(interpreter: &Interpreter) -> Check {
    match ask(interpreter, "import pydantic; print(pydantic.VERSION)") {
        Ok(version) if version.starts_with("2.") => Check::good("pydantic", version),
        Ok(version) => Check::bad("pydantic", version, "rohas needs pydantic 2: pip install 'pydantic>=2,<3'"),
        Err(_) => Check::bad(
            "pydantic",
            "it is not installed in that interpreter",
            "pip install 'pydantic>=2,<3', or run `rohas dev` once",
        ),
    }
}

fn ask(interpreter: &Interpreter, code: &str) -> Result<String, String> {
    let output = Command::new(&interpreter.path).args(["-c", code]).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it failed").to_owned())
}

fn daemon(status: Option<&Status>) -> Check {
    match status {
        Some(status) => Check::good("daemon", format!("running as {} at {}", status.pid, status.address)),
        None => Check::good("daemon", "not running"),
    }
}

fn port(settings: &Settings, status: Option<&Status>) -> Check {
    let server = &settings.server;
    let address = server.host.with_port(server.port);
    if status.is_some() {
        return Check::good("port", format!("{address} is the daemon's to choose"));
    }
    match TcpListener::bind((server.host.as_str(), server.port)) {
        Ok(_) => Check::good("port", format!("{address} is free")),
        Err(error) => Check::bad("port", format!("{address}: {error}"), "set server.port, or give --port"),
    }
}

fn store(project: &Project, settings: &Settings, status: Option<&Status>) -> Check {
    let path = settings.telemetry.directory(&project.root);
    if let Some(status) = status {
        let stats = &status.telemetry;
        let found = format!("{} bytes stored, {} records dropped", stats.stored_bytes, stats.dropped);
        return Check::good("store", found);
    }
    match Store::open_read_only(&path) {
        Ok(_) => Check::good("store", format!("{} opens", path.display())),
        Err(rohas_telemetry::Error::Missing { .. }) => Check::good("store", "nothing has been recorded yet"),
        Err(error) => Check::bad("store", error.to_string(), "move the directory away; a new one is made"),
    }
}
