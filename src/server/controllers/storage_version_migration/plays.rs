//! Two migrations of one resource, its objects and its definition, played to the end: every object is in the new version
//! before the definition forgets the old one.

use super::plan::{self, Step, plan};
use crate::common::{
    fixtures::{noon, one},
    interruption::{self, World, Write, write},
};
use expect_test::expect;
use k8s_openapi::{
    api::storagemigration::v1beta1::StorageVersionMigration,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionCondition,
    },
};
use mk8s_client::kube::ResourceExt;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
struct Stored {
    migrations: BTreeMap<String, StorageVersionMigration>,
    definition: CustomResourceDefinition,
    /// The objects: in which version they are stored, and since which revision.
    objects: BTreeMap<&'static str, (&'static str, u64)>,
    revision: u64,
    rounds: usize,
}

impl Stored {
    /// What an apply of a definition's status does.
    fn define(&mut self, applied: &Value) {
        let status = self.definition.status.get_or_insert_default();
        let condition: CustomResourceDefinitionCondition =
            serde_json::from_value(applied["status"]["conditions"][0].clone()).expect("a condition");
        status.conditions = Some(vec![condition]);
        if let Ok(stored) = serde_json::from_value(applied["status"]["storedVersions"].clone()) {
            status.stored_versions = Some(stored);
        }
    }
}

impl World for Stored {
    fn writes(&self) -> Vec<Write<Stored>> {
        let all: Vec<Arc<StorageVersionMigration>> = self.migrations.values().cloned().map(Arc::new).collect();
        let mut writes = vec![];
        let save = |what: &str, migration: StorageVersionMigration, writes: &mut Vec<Write<Stored>>| {
            writes.push(write(format!("{} {what}", migration.name_any()), move |world: &mut Stored| {
                world.migrations.insert(migration.name_any(), migration);
            }));
        };
        for step in plan(&all) {
            match step {
                Step::Begin { name } => {
                    let applied = plan::definition_at_begin(&self.definition, &name, noon());
                    writes.push(write("definition begins", move |world: &mut Stored| world.define(&applied)));
                    let begun = plan::with(&self.migrations[&name], plan::RUNNING, "The migration is running", noon());
                    save("runs", begun, &mut writes);
                }
                Step::Mark { name } => {
                    save("marks", plan::marked(&self.migrations[&name], &self.revision.to_string()), &mut writes);
                }
                Step::Rewrite { name, up_to } => {
                    for (object, (_, revision)) in &self.objects {
                        if plan::is_due(&revision.to_string(), &up_to) == Ok(true) {
                            let object = *object;
                            writes.push(write(format!("rewrite {object}"), move |world: &mut Stored| {
                                world.revision += 1;
                                world.objects.insert(object, ("v2", world.revision));
                            }));
                        }
                    }
                    save("succeeds", plan::with(&self.migrations[&name], plan::SUCCEEDED, "", noon()), &mut writes);
                }
                Step::End { name, succeeded } => {
                    let applied = plan::definition_at_end(&self.definition, succeeded, noon());
                    writes.push(write("definition ends", move |world: &mut Stored| world.define(&applied)));
                    save("ends", plan::ended(&self.migrations[&name], noon()), &mut writes);
                }
            }
        }
        writes
    }

    /// Somebody writes an object in the middle of it.
    fn others(&mut self) -> bool {
        self.rounds += 1;
        if self.rounds == 2 {
            self.revision += 1;
            self.objects.insert("c", ("v2", self.revision));
        }
        self.rounds <= 2
    }

    fn holds(&self) -> Result<(), String> {
        let stored =
            self.definition.status.as_ref().and_then(|status| status.stored_versions.clone()).unwrap_or_default();
        match self.objects.iter().find(|(_, (version, _))| !stored.iter().any(|known| known == version)) {
            Some((object, (version, _))) => Err(format!("{object} is stored in {version}, which is not in {stored:?}")),
            None => Ok(()),
        }
    }

    fn facts(&self) -> String {
        let conditions = |migration: &StorageVersionMigration| -> Vec<String> {
            let all = migration.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            all.iter().map(|condition| format!("{}={}", condition.type_, condition.status)).collect()
        };
        let migrations = self.migrations.iter().map(|(name, one)| format!("{name} {:?}\n", conditions(one)));
        let objects = self.objects.iter().map(|(name, (version, _))| format!("{name} {version}\n"));
        let status = self.definition.status.clone().unwrap_or_default();
        let condition = &status.conditions.unwrap_or_default()[0];
        let definition = format!(
            "definition {:?} {}={} {}\n",
            status.stored_versions.unwrap_or_default(),
            condition.type_,
            condition.status,
            condition.reason.as_deref().unwrap_or_default()
        );
        migrations.chain(objects).chain([definition]).collect()
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let migration = |name: &str| -> StorageVersionMigration {
        one(&format!(
            "kind: StorageVersionMigration\nmetadata: {{name: {name}, creationTimestamp: 2026-01-01T11:00:00Z}}\nspec: \
             {{resource: {{group: example.org, resource: toys}}}}\n"
        ))
    };
    let definition = one(
        "kind: CustomResourceDefinition\nmetadata: {name: toys.example.org, generation: 2}\nspec:\n  group: example.org\n  \
         scope: Cluster\n  names: {kind: Toy, plural: toys}\n  versions: [{name: v1, served: true, storage: false}, {name: \
         v2, served: true, storage: true}]\nstatus: {storedVersions: [v1, v2]}\n",
    );
    let world = Stored {
        migrations: ["a", "b"].map(|name| (name.to_owned(), migration(name))).into(),
        definition,
        objects: [("a", ("v1", 3)), ("b", ("v1", 5)), ("c", ("v1", 9))].into(),
        revision: 10,
        rounds: 0,
    };
    interruption::check(
        &world,
        &expect![[r#"
        definition begins
        a runs
        a marks
        rewrite a
        rewrite b
        a succeeds
        definition ends
        a ends
        definition begins
        b runs
        b marks
        rewrite a
        rewrite b
        rewrite c
        b succeeds
        definition ends
        b ends
    "#]],
        &expect![[r#"
        a ["Running=False", "Succeeded=True"]
        b ["Running=False", "Succeeded=True"]
        a v2
        b v2
        c v2
        definition ["v2"] StorageMigrating=False MigrationSucceeded
    "#]],
    );
}
