//! `create`: objects from files, or made by a generator from flags.

mod batch;
mod config;
mod ingress;
pub(crate) mod rbac;
pub(crate) mod service;
mod simple;
pub(crate) mod token;
pub(crate) mod workload;

use crate::{
    apply::set_last_applied,
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files, ValidateFlag},
    printers,
    record::RecordFlag,
    remote::with_query,
    resolve::{Info, files},
    session::Session,
};
use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::Value;

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Create {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    flags: CreateFlags,
    #[command(subcommand)]
    generator: Option<Generator>,
}

/// What creating from a file and from a generator have in common.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct CreateFlags {
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    validate: ValidateFlag,
    /// Save the configuration in the object's annotation, for later applies.
    #[arg(long)]
    save_config: bool,
    #[command(flatten)]
    record: RecordFlag,
}

/// A generator and the flags it shares with the others.
#[derive(clap::Args, Debug)]
pub(crate) struct With<T: clap::Args> {
    #[command(flatten)]
    generator: T,
    #[command(flatten)]
    flags: CreateFlags,
}

/// Makes an object of its flags; pure.
pub(crate) trait Generate {
    /// Whether the object lives in a namespace.
    const NAMESPACED: bool = true;
    fn generate(&self) -> Result<Value>;
}

#[derive(Subcommand, Debug)]
enum Generator {
    /// Create a namespace with the specified name
    #[command(alias = "ns")]
    Namespace(With<simple::Namespace>),
    /// Create a deployment with the specified name
    #[command(alias = "deploy")]
    Deployment(With<workload::Deployment>),
    /// Create a config map from a local file, directory or literal value
    #[command(name = "configmap", alias = "cm")]
    ConfigMap(With<config::ConfigMap>),
    /// Create a secret: generic, docker-registry or tls
    Secret {
        #[command(subcommand)]
        kind: Secret,
    },
    /// Create a service: clusterip, nodeport, loadbalancer or externalname
    #[command(alias = "svc")]
    Service {
        #[command(subcommand)]
        kind: Service,
    },
    /// Create a service account with the specified name
    #[command(name = "serviceaccount", alias = "sa")]
    ServiceAccount(With<simple::ServiceAccount>),
    /// Create a role with single rule
    Role(With<rbac::Role>),
    /// Create a cluster role
    #[command(name = "clusterrole")]
    ClusterRole(With<rbac::ClusterRole>),
    /// Create a role binding for a particular role or cluster role
    #[command(name = "rolebinding")]
    RoleBinding(With<rbac::RoleBinding>),
    /// Create a cluster role binding for a particular cluster role
    #[command(name = "clusterrolebinding")]
    ClusterRoleBinding(With<rbac::ClusterRoleBinding>),
    /// Create a job with the specified name
    Job(With<batch::Job>),
    /// Create a cron job with the specified name
    #[command(name = "cronjob", alias = "cj")]
    CronJob(With<batch::CronJob>),
    /// Create an ingress with the specified name
    #[command(alias = "ing")]
    Ingress(With<ingress::Ingress>),
    /// Create a quota with the specified name
    #[command(alias = "resourcequota")]
    Quota(With<simple::Quota>),
    /// Create a priority class with the specified name
    #[command(name = "priorityclass", alias = "pc")]
    PriorityClass(With<simple::PriorityClass>),
    /// Create a pod disruption budget with the specified name
    #[command(name = "poddisruptionbudget", alias = "pdb")]
    PodDisruptionBudget(With<simple::PodDisruptionBudget>),
    /// Request a service account token
    Token(token::Token),
}

#[derive(Subcommand, Debug)]
enum Secret {
    /// Create a secret from a local file, directory, or literal value
    Generic(With<config::Generic>),
    /// Create a secret for use with a container registry
    DockerRegistry(With<config::DockerRegistry>),
    /// Create a TLS secret
    Tls(With<config::Tls>),
}

#[derive(Subcommand, Debug)]
enum Service {
    /// Create a ClusterIP service
    #[command(name = "clusterip")]
    ClusterIp(With<service::ClusterIp>),
    /// Create a NodePort service
    #[command(name = "nodeport")]
    NodePort(With<service::NodePort>),
    /// Create a LoadBalancer service
    #[command(name = "loadbalancer")]
    LoadBalancer(With<service::LoadBalancer>),
    /// Create an ExternalName service
    #[command(name = "externalname")]
    ExternalName(With<service::ExternalName>),
}

impl Create {
    /// `--user` means the subjects of a binding here, not a kubeconfig user.
    pub(crate) fn take_users(&mut self, users: &mut Vec<String>) {
        match &mut self.generator {
            Some(Generator::RoleBinding(with)) => with.generator.subjects.set_users(std::mem::take(users)),
            Some(Generator::ClusterRoleBinding(with)) => with.generator.subjects.set_users(std::mem::take(users)),
            _ => {}
        }
    }

    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match &self.generator {
            None => self.of_files(cx).await,
            Some(Generator::Namespace(with)) => with.run(cx).await,
            Some(Generator::Deployment(with)) => with.run(cx).await,
            Some(Generator::ConfigMap(with)) => with.run(cx).await,
            Some(Generator::Secret { kind: Secret::Generic(with) }) => with.run(cx).await,
            Some(Generator::Secret { kind: Secret::DockerRegistry(with) }) => with.run(cx).await,
            Some(Generator::Secret { kind: Secret::Tls(with) }) => with.run(cx).await,
            Some(Generator::Service { kind: Service::ClusterIp(with) }) => with.run(cx).await,
            Some(Generator::Service { kind: Service::NodePort(with) }) => with.run(cx).await,
            Some(Generator::Service { kind: Service::LoadBalancer(with) }) => with.run(cx).await,
            Some(Generator::Service { kind: Service::ExternalName(with) }) => with.run(cx).await,
            Some(Generator::ServiceAccount(with)) => with.run(cx).await,
            Some(Generator::Role(with)) => {
                let object = with.generator.resolved(cx).await?;
                with.flags.create(cx, object, true).await
            }
            Some(Generator::ClusterRole(with)) => {
                let object = with.generator.resolved(cx).await?;
                with.flags.create(cx, object, false).await
            }
            Some(Generator::RoleBinding(with)) => with.run(cx).await,
            Some(Generator::ClusterRoleBinding(with)) => with.run(cx).await,
            Some(Generator::Job(with)) => {
                let object = with.generator.resolved(cx).await?;
                with.flags.create(cx, object, true).await
            }
            Some(Generator::CronJob(with)) => with.run(cx).await,
            Some(Generator::Ingress(with)) => with.run(cx).await,
            Some(Generator::Quota(with)) => with.run(cx).await,
            Some(Generator::PriorityClass(with)) => with.run(cx).await,
            Some(Generator::PodDisruptionBudget(with)) => with.run(cx).await,
            Some(Generator::Token(token)) => token.run(cx).await,
        }
    }

    async fn of_files(&self, cx: &Session) -> Result<()> {
        if self.files.filename.is_empty() {
            bail!("must specify one of -f and -k");
        }
        let documents = files::documents(&self.files).await?;
        if documents.is_empty() {
            bail!("no objects passed to create");
        }
        let mut failures = Vec::new();
        for document in documents {
            let result = match files::info(cx, document).await {
                Ok(info) => self.flags.create_info(cx, info, "creating").await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                failures.push(error);
            }
        }
        all_or(failures)
    }
}

impl<T: clap::Args + Generate> With<T> {
    async fn run(&self, cx: &Session) -> Result<()> {
        self.flags.create(cx, self.generator.generate()?, T::NAMESPACED).await
    }
}

impl CreateFlags {
    /// Creates a generated object. A client dry run needs no server.
    pub(crate) async fn create(&self, cx: &Session, mut object: Value, namespaced: bool) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        if namespaced && (dry_run != DryRun::Client || cx.namespace_flag().is_some()) {
            object["metadata"]["namespace"] = cx.namespace().await?.into();
        }
        if dry_run == DryRun::Client {
            if self.save_config {
                set_last_applied(&mut object);
            }
            let label = printers::name_of(&object);
            let label = label.rsplit_once('/').map_or(label.as_str(), |(label, _)| label);
            return printers::changed_as(&self.change, dry_run, label, &object, "", "created");
        }
        let info = files::info(cx, files::Document { object, source: String::new() }).await?;
        self.create_info(cx, Info { source: None, ..info }, "creating").await
    }

    async fn create_info(&self, cx: &Session, mut info: Info, verb: &str) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        if self.save_config {
            set_last_applied(&mut info.object);
        }
        self.record.apply(&mut info.object);
        if dry_run == DryRun::Client {
            return printers::changed(&self.change, dry_run, &info, &info.object, "created");
        }
        let path = with_query(
            &info.collection(),
            &[
                ("fieldManager", self.change.manager("kubectl-create")),
                ("fieldValidation", self.validate.query()?),
                ("dryRun", dry_run.query()),
            ],
        );
        let created = cx.remote().await?.post(&path, &info.object).await;
        let created = created.map_err(|error| match info.source.as_deref() {
            Some(source) => Failure::from_source(error, verb, Some(source)),
            None => generator_failure(&info, error),
        })?;
        printers::changed(&self.change, dry_run, &info, &created, "created")
    }
}

/// A generator's failure begins with what it was making, for the kinds where kubectl says so.
fn generator_failure(info: &Info, error: anyhow::Error) -> anyhow::Error {
    let what = match info.resource.kind.as_str() {
        "Namespace" | "Role" | "ClusterRole" => return error,
        "Secret" => "secret".to_owned(),
        "Service" => format!("{} service:", info.object["spec"]["type"].as_str().unwrap_or_default()),
        "PodDisruptionBudget" => "poddisruptionbudgets:".to_owned(),
        "ResourceQuota" => "quota:".to_owned(),
        _ => format!("{}:", info.resource.singular),
    };
    match error.downcast::<Failure>() {
        Ok(Failure::Api(status)) => {
            anyhow::anyhow!("failed to create {what} {}", status["message"].as_str().unwrap_or_default())
        }
        Ok(failure) => failure.into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests;
