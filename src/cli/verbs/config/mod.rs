//! `config`: looks into kubeconfig files and changes them.

mod entries;
mod view;

use crate::{
    kubeconfig::{edit::Editor, property},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use entries::{SetCluster, SetContext, SetCredentials};
use view::{GetContexts, View};

#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Display merged kubeconfig settings or a specified kubeconfig file
    View(View),
    /// Display the current-context
    CurrentContext,
    /// Describe one or many contexts
    GetContexts(GetContexts),
    /// Display clusters defined in the kubeconfig
    GetClusters,
    /// Display users defined in the kubeconfig
    GetUsers,
    /// Set the current-context in a kubeconfig file
    #[command(alias = "use")]
    UseContext(Names),
    /// Set a context entry in kubeconfig
    SetContext(SetContext),
    /// Set a cluster entry in kubeconfig
    SetCluster(SetCluster),
    /// Set a user entry in kubeconfig
    SetCredentials(Box<SetCredentials>),
    /// Set an individual value in a kubeconfig file
    Set(Set),
    /// Unset an individual value in a kubeconfig file
    Unset(Names),
    /// Delete the specified context from the kubeconfig
    DeleteContext(Names),
    /// Delete the specified cluster from the kubeconfig
    DeleteCluster(Names),
    /// Delete the specified user from the kubeconfig
    DeleteUser(Names),
    /// Rename a context from the kubeconfig file
    RenameContext(Names),
}

#[derive(clap::Args, Debug)]
struct Names {
    #[arg(value_name = "NAME")]
    args: Vec<String>,
}

impl Names {
    fn one(&self) -> Result<&str> {
        let [name] = exactly(&self.args)?;
        Ok(name)
    }
}

fn exactly<const N: usize>(args: &[String]) -> Result<&[String; N]> {
    args.try_into().map_err(|_| anyhow!("Unexpected args: [{}]", args.join(" ")))
}

#[derive(clap::Args, Debug)]
struct Set {
    #[arg(value_name = "PROPERTY_NAME PROPERTY_VALUE")]
    args: Vec<String>,
    /// Write the given string directly to a property of bytes, without decoding it.
    #[arg(long)]
    set_raw_bytes: bool,
}

impl Config {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let mut editor = Editor::open(&cx.globals)?;
        match &self.command {
            Command::View(view) => view.run(cx, &editor),
            Command::CurrentContext => match editor.current() {
                "" => bail!("current-context is not set"),
                name => {
                    crate::outln!("{name}");
                    Ok(())
                }
            },
            Command::GetContexts(get) => get.run(&editor),
            Command::GetClusters => names(&editor, "clusters"),
            Command::GetUsers => names(&editor, "users"),
            Command::UseContext(names) => use_context(editor, names.one()?),
            Command::SetContext(set) => set.run(cx, editor),
            Command::SetCluster(set) => set.run(cx, editor),
            Command::SetCredentials(set) => set.run(cx, editor),
            Command::Set(wanted) => {
                let [name, value] = exactly(&wanted.args)?;
                if value.is_empty() {
                    bail!("you cannot use set to unset a property");
                }
                property::set(&mut editor, specified(name)?, value, wanted.set_raw_bytes)?;
                editor.save()?;
                crate::outln!("Property {name:?} set.");
                Ok(())
            }
            Command::Unset(names) => {
                let name = specified(names.one()?)?;
                property::unset(&mut editor, name)?;
                editor.save()?;
                crate::outln!("Property {name:?} unset.");
                Ok(())
            }
            Command::DeleteContext(names) => delete(editor, "contexts", "context", names.one()?),
            Command::DeleteCluster(names) => delete(editor, "clusters", "cluster", names.one()?),
            Command::DeleteUser(names) => match names.args.as_slice() {
                [name] => delete(editor, "users", "user", name),
                _ => bail!("user to delete is required\nSee 'kubectl config delete-user -h' for help and examples"),
            },
            Command::RenameContext(names) => rename_context(editor, exactly(&names.args)?),
        }
    }
}

fn specified(name: &str) -> Result<&str> {
    if name.is_empty() { Err(anyhow!("you must specify a property")) } else { Ok(name) }
}

fn names(editor: &Editor, list: &str) -> Result<()> {
    crate::outln!("NAME");
    for name in editor.names(list) {
        crate::outln!("{name}");
    }
    Ok(())
}

fn use_context(mut editor: Editor, name: &str) -> Result<()> {
    if name.is_empty() {
        bail!("empty context names are not allowed");
    }
    if editor.get("contexts", name).is_none() {
        bail!("no context exists with the name: {name:?}");
    }
    editor.set_current(name);
    editor.save()?;
    crate::outln!("Switched to context {name:?}.");
    Ok(())
}

fn delete(mut editor: Editor, list: &str, kind: &str, name: &str) -> Result<()> {
    let file = editor.file().display().to_string();
    let current = list == "contexts" && editor.current() == name;
    if editor.remove(list, name).is_none() {
        bail!("cannot delete {kind} {name}, not in {file}");
    }
    if current {
        crate::errln!(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one"
        );
    }
    editor.save()?;
    crate::outln!("deleted {kind} {name} from {file}");
    Ok(())
}

fn rename_context(mut editor: Editor, [old, new]: &[String; 2]) -> Result<()> {
    let file = editor.file().display().to_string();
    if new.is_empty() {
        bail!("You must specify a new non-empty context name");
    }
    if editor.get("contexts", old).is_none() {
        bail!("cannot rename the context {old:?}, it's not in {file}");
    }
    if editor.get("contexts", new).is_some() {
        bail!("cannot rename the context {old:?}, the context {new:?} already exists in {file}");
    }
    let current = editor.current() == old;
    if let Some(context) = editor.remove("contexts", old) {
        editor.put("contexts", new, context);
    }
    if current {
        editor.set_current(new);
    }
    editor.save()?;
    crate::outln!("Context {old:?} renamed to {new:?}.");
    Ok(())
}
