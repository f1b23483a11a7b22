//! The verbs and how a command line becomes one.

use crate::{flags::Globals, session::Session, verbs::*};
use clap::{ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use std::{ffi::OsString, process::ExitCode};

#[derive(Parser, Debug)]
#[command(
    name = "kubectl",
    about = "Controls a Kubernetes cluster.",
    disable_version_flag = true,
    max_term_width = 120
)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// One variant a verb; the doc comment is its line of help.
macro_rules! verbs {
    ($($(#[$meta:meta])* $name:ident($kind:ty),)*) => {
        #[derive(Subcommand, Debug)]
        pub(crate) enum Verb {
            $($(#[$meta])* $name(Box<$kind>),)*
        }

        /// Runs the verb of a command line.
        pub(crate) async fn run(line: Line) -> anyhow::Result<()> {
            let cx = Session::new(line.globals);
            match line.verb {
                $(Verb::$name(verb) => verb.run(&cx).await,)*
            }
        }
    };
}

verbs! {
    /// Display one or many resources
    Get(get::Get),
    /// Create a resource from a file or by a generator
    Create(create::Create),
    /// Apply a configuration to a resource by file name or stdin
    Apply(apply::Apply),
    /// Delete resources by file names, stdin, resources and names, or by resources and label selector
    Delete(delete::Delete),
    /// Run a particular image on the cluster
    Run(run::Run),
    /// Take a workload or service and expose it as a new Kubernetes service
    Expose(expose::Expose),
    /// Set a new size for a deployment, replica set, or replication controller
    Scale(scale::Scale),
    /// Auto-scale a deployment, replica set, stateful set, or replication controller
    Autoscale(autoscale::Autoscale),
    /// Diff the live version against a would-be applied version
    Diff(diff::Diff),
    /// Update the labels on a resource
    Label(label::Label),
    /// Update the annotations on a resource
    Annotate(annotate::Annotate),
    /// Update fields of a resource
    Patch(patch::Patch),
    /// Replace a resource by file name or stdin
    Replace(replace::Replace),
    /// Edit a resource on the server
    Edit(edit::Edit),
    /// Set specific features on objects
    Set(set::Set),
    /// Manage the rollout of a resource
    Rollout(rollout::Rollout),
    /// Display resource (CPU/memory) usage
    Top(top::Top),
    /// Mark node as unschedulable
    Cordon(drain::Cordon),
    /// Mark node as schedulable
    Uncordon(drain::Uncordon),
    /// Drain node in preparation for maintenance
    Drain(drain::Drain),
    /// Update the taints on one or more nodes
    Taint(taint::Taint),
    /// Wait for a specific condition on one or many resources
    Wait(wait::Wait),
    /// Print the logs for a container in a pod
    #[command(alias = "log")]
    Logs(logs::Logs),
    /// Execute a command in a container
    Exec(exec::Exec),
    /// Attach to a running container
    Attach(attach::Attach),
    /// Forward one or more local ports to a pod
    PortForward(port_forward::PortForward),
    /// Copy files and directories to and from containers
    Cp(cp::Cp),
    /// Show details of a specific resource or group of resources
    Describe(describe::Describe),
    /// Get documentation for a resource
    Explain(explain::Explain),
    /// Print the supported API resources on the server
    ApiResources(api_resources::ApiResources),
    /// Print the supported API versions on the server, in the form of "group/version"
    ApiVersions(api_versions::ApiVersions),
    /// Display cluster information
    #[command(alias = "clusterinfo")]
    ClusterInfo(cluster_info::ClusterInfo),
    /// Print the client and server version information
    Version(version::Version),
    /// Modify kubeconfig files
    Config(config::Config),
    /// Inspect authorization
    Auth(auth::Auth),
    /// Output shell completion code for the specified shell (bash, zsh, fish, or powershell)
    Completion(completion::Completion),
    /// Print the list of flags inherited by all commands
    Options(options::Options),
}

/// Reads a command line; an answer that is already given (help, a usage error) is an exit code.
pub(crate) fn parse(argv: Vec<OsString>) -> Result<Line, ExitCode> {
    let matches = command().try_get_matches_from(argv);
    let matches = matches.inspect(crate::record::announce).and_then(|matches| Line::from_arg_matches(&matches));
    let line = matches.map(|mut line| {
        if let Verb::Create(create) = &mut line.verb {
            create.take_users(&mut line.globals.user);
        }
        if let Verb::Set(set) = &mut line.verb {
            set.take_users(&mut line.globals.user);
        }
        line
    });
    line.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if verb_of(&error.render().to_string()) != "kubectl" => {
            crate::say::err(format_args!("{}", error.render()));
            ExitCode::FAILURE
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            crate::say::out(format_args!("{}", error.render()));
            ExitCode::SUCCESS
        }
        _ => {
            crate::errln!("{}", usage_error(&error));
            ExitCode::FAILURE
        }
    })
}

/// The command with Go's flags: every switch also takes `=true` and `=false`.
pub(crate) fn command() -> Command {
    fn go_switches(command: Command) -> Command {
        let command = command.mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_name("BOOL")
                .value_parser(clap::builder::BoolishValueParser::new()),
            _ => arg,
        });
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, go_switches))
    }
    go_switches(Line::command())
}

/// One line in kubectl's words, then where to look.
fn usage_error(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue};
    let all = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let arguments = all(ContextKind::InvalidArg);
    let argument = arguments.first().cloned().unwrap_or_default();
    let rendered = error.render().to_string();
    let verb = verb_of(&rendered);
    let first_line = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let one_name =
        |got: usize| format!("error: exactly one NAME is required, got {got}\nSee '{verb} -h' for help and examples");
    let message = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => format!("unknown flag: {argument}"),
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {argument}")
        }
        ErrorKind::UnknownArgument if verb.starts_with("kubectl create ") => return one_name(2),
        ErrorKind::MissingRequiredArgument => {
            let flags = arguments.iter().filter_map(|argument| argument.strip_prefix("--"));
            let flags: Vec<String> =
                flags.map(|flag| format!("{:?}", flag.split([' ', '=']).next().unwrap_or_default())).collect();
            match flags.is_empty() {
                true if verb.starts_with("kubectl create ") => return one_name(0),
                true => first_line,
                false => return format!("error: required flag(s) {} not set", flags.join(", ")),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let name = all(ContextKind::InvalidSubcommand).pop().unwrap_or_default();
            if verb.starts_with("kubectl create") {
                return format!("error: Unexpected args: [{name}]\nSee '{verb} -h' for help and examples");
            }
            if verb != "kubectl" {
                return format!("error: unknown command {name:?}\nSee '{verb} -h' for help and examples");
            }
            return format!("error: unknown command {name:?} for \"kubectl\"");
        }
        ErrorKind::ValueValidation => {
            let value = all(ContextKind::InvalidValue).pop().unwrap_or_default();
            let flag = argument.split([' ', '=']).next().unwrap_or_default();
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let cause = match cause.as_str() {
                "invalid digit found in string" | "cannot parse integer from empty string" => {
                    format!("strconv.ParseInt: parsing {value:?}: invalid syntax")
                }
                _ => cause,
            };
            format!("invalid argument {value:?} for {flag:?} flag: {cause}")
        }
        _ => first_line,
    };
    format!("error: {message}\nSee '{verb} --help' for usage.")
}

/// The words of a verb, out of the usage that clap renders.
fn verb_of(rendered: &str) -> String {
    let usage = rendered.lines().find_map(|line| line.trim_start().strip_prefix("Usage: ")).unwrap_or("kubectl");
    let words = usage.split(' ').take_while(|word| !word.starts_with(['-', '[', '<']) && *word != word.to_uppercase());
    // The program may have another name.
    std::iter::once("kubectl").chain(words.skip(1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        let argv: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        let matches = command().try_get_matches_from(argv).map_err(|error| usage_error(&error))?;
        Line::from_arg_matches(&matches).map_err(|error| usage_error(&error))
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_are_gos() {
        let cases = [
            "kubectl get pods -A --show-labels=true -o wide",
            "kubectl -n x get pods --no-headers=false -l a=b",
            "kubectl get -n x pods -w",
            "kubectl exec -it pod -c main -- sh -c 'x'",
            "kubectl exec -ti pod -- sh",
            "kubectl delete pod x --now --force --grace-period=0",
            "kubectl run x --image=y --restart=Never --command -- sleep 5",
            "kubectl logs -f --tail=-1 x -c y",
            "kubectl create deployment x --image=y --replicas=3",
            "kubectl apply -f a.yaml -f b.yaml --server-side",
        ];
        for text in cases {
            if let Err(message) = line(text) {
                panic!("{text}: {message}");
            }
        }
    }

    #[test]
    fn usage_errors_are_worded_as_kubectls() {
        let cases = [
            ("kubectl get --nope", "error: unknown flag: --nope"),
            ("kubectl get -Z", "error: unknown shorthand flag: 'Z' in -Z"),
            ("kubectl frob", "error: unknown command \"frob\" for \"kubectl\""),
            (
                "kubectl create deployment x --nope",
                "error: unknown flag: --nope\nSee 'kubectl create deployment --help' for usage.",
            ),
            ("kubectl scale x --replicas=y", "error: invalid argument \"y\" for \"--replicas\" flag: "),
            (
                "kubectl exec --pod-running-timeout=y",
                "error: invalid argument \"y\" for \"--pod-running-timeout\" flag: time: invalid duration \"y\"",
            ),
            ("kubectl create deployment x", "error: required flag(s) \"image\" not set"),
            (
                "kubectl create ns",
                "error: exactly one NAME is required, got 0\nSee 'kubectl create namespace -h' for help and examples",
            ),
            (
                "kubectl create ns a b",
                "error: exactly one NAME is required, got 2\nSee 'kubectl create namespace -h' for help and examples",
            ),
        ];
        for (text, start) in cases {
            let message = line(text).err().unwrap_or_default();
            assert!(message.starts_with(start), "{text}: {message}");
        }
    }
}
