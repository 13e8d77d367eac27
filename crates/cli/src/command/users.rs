//! `muster users`: people and services, and what they may do in organisations.

use std::io::{BufRead, IsTerminal};

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_domain::access::{ApiKey, Role, User, UserKind};
use muster_engine::{
    Engine,
    access::{ListedUser, NewUser},
};
use serde_json::{Map, Value, json};

use super::keys::dying;
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    moment::to_the_minute,
    session::Session,
    table::{Table, one_line},
};

/// Create, list, disable and enable users, and set their roles and passwords
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  muster users create --name 'Ada Archer' --email ada@example.com --org acme --role administrator\n  \
    muster users create --service --name nightly --org acme --role administrator"
)]
pub struct Users {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a user: a person with e-mail and password, or a service that never signs in
    ///
    /// API keys act on behalf of a user. Give integrations a service user of their own, so that they do not end when somebody leaves.
    #[command(
        after_help = "Examples:\n  muster users create --name 'Ada Archer' --email ada@example.com --org acme --role reviewer\n  \
        muster users create --service --name nightly --org acme --role administrator\n  \
        muster users create --name Ops --email ops@example.com --operator --password-stdin < password.txt"
    )]
    Create {
        /// The name that stands in histories
        #[arg(long)]
        name: String,
        /// The e-mail address with which a person signs in
        #[arg(long, required_unless_present = "service", conflicts_with = "service")]
        email: Option<String>,
        /// A service, which never signs in
        #[arg(long)]
        service: bool,
        /// May do everything in every organisation
        #[arg(long)]
        operator: bool,
        #[command(flatten)]
        password: Password,
        /// The organisation in which it has a role from the beginning
        #[arg(long = "org", value_name = "SLUG", requires = "role")]
        slug: Option<String>,
        /// That role
        #[arg(long, value_parser = role(), requires = "slug")]
        role: Option<Role>,
    },
    /// List the users with their roles
    #[command(after_help = "Examples:\n  muster users list\n  muster users list --org acme --json")]
    List {
        /// Only those with a role in this organisation, and operators
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
    },
    /// Give a user a role in an organisation, or take it away
    ///
    /// A viewer looks; a reviewer also sends lists, decides on what waits and downloads originals and the roster; an administrator does everything.
    #[command(after_help = "Examples:\n  muster users set-role ada@example.com reviewer --org acme\n  \
        muster users set-role nightly none --org acme")]
    SetRole {
        /// E-mail address, name or id
        user: String,
        /// The role, or none
        #[arg(value_parser = role_or_none())]
        role: RoleOrNone,
        #[command(flatten)]
        org: OfOrganisation,
    },
    /// Disable a user, and with it every key that acts on its behalf
    #[command(
        after_help = "Example:\n  muster users disable ada@example.com\n  muster users disable ada@example.com --yes"
    )]
    Disable {
        /// E-mail address, name or id
        user: String,
        /// Do it; without this it only says which keys would die (exit code 3)
        #[arg(long)]
        yes: bool,
    },
    /// Let a disabled user, and its keys, work again
    #[command(after_help = "Example:\n  muster users enable ada@example.com")]
    Enable {
        /// E-mail address, name or id
        user: String,
    },
    /// Give a person another password
    #[command(after_help = "Examples:\n  muster users reset ada@example.com\n  \
        muster users reset ada@example.com --password-stdin < password.txt")]
    Reset {
        /// E-mail address, name or id
        user: String,
        #[command(flatten)]
        password: Password,
    },
}

/// Where the password comes from; never from an argument, which other users of the machine can read.
#[derive(Debug, Args)]
struct Password {
    /// Read the password from standard input, up to the end of its first line, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    fn get(&self) -> Result<String, Failure> {
        if self.password_stdin {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::wrong("There is no terminal to ask for a password; give it with --password-stdin."));
        }
        let ask = |prompt: &str| rpassword::prompt_password(prompt);
        let password = ask("Password: ")?;
        if ask("The same again: ")? == password {
            Ok(password)
        } else {
            Err(Failure::wrong("The two are not the same."))
        }
    }
}

/// A role, or that there is none.
#[derive(Clone, Copy, Debug)]
struct RoleOrNone(Option<Role>);

fn role() -> impl TypedValueParser<Value = Role> {
    let words = PossibleValuesParser::new(Role::ALL.map(Role::word));
    words.try_map(|word| Role::from_word(&word).ok_or("no such role"))
}

fn role_or_none() -> impl TypedValueParser<Value = RoleOrNone> {
    let words = Role::ALL.map(Role::word).into_iter().chain(["none"]);
    PossibleValuesParser::new(words).map(|word| RoleOrNone(Role::from_word(&word)))
}

/// Runs the command.
pub async fn run(users: Users, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    match users.command {
        Command::Create { name, email, service, operator, password, slug, role } => {
            let org = match &slug {
                Some(slug) => Some(engine.organisation(slug).await?),
                None => None,
            };
            let kind = if service { UserKind::Service } else { UserKind::Person };
            let password = if service { None } else { Some(password.get()?) };
            let user = engine.create_user(NewUser { kind, name, email, password, operator }).await?;
            if let Some(org) = org {
                engine.set_role(&org, user.id, role).await?;
            }
            told(&engine, &user, "Made", session).await?;
        }
        Command::List { slug } => list(&engine, slug.as_deref(), session).await?,
        Command::SetRole { user, role, org } => {
            let org = engine.organisation(&org.slug).await?;
            let user = engine.find_user(&user).await?;
            engine.set_role(&org, user.id, role.0).await?;
            told(&engine, &user, "Changed", session).await?;
        }
        Command::Disable { user, yes } => {
            let user = engine.find_user(&user).await?;
            return disable(&engine, user, yes, session).await;
        }
        Command::Enable { user } => {
            let user = engine.find_user(&user).await?;
            let user = engine.disable_user(user.id, false).await?;
            told(&engine, &user, "Enabled", session).await?;
        }
        Command::Reset { user, password } => {
            let user = engine.find_user(&user).await?;
            let user = engine.set_password(user.id, password.get()?).await?;
            told(&engine, &user, "Changed the password of", session).await?;
        }
    }
    Ok(Exit::Done)
}

async fn disable(engine: &Engine, user: User, yes: bool, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let keys: Vec<ApiKey> = engine.keys_of_user(user.id).await?;
    let user = if yes { engine.disable_user(user.id, true).await? } else { user };
    let (n, name) = (keys.len(), one_line(&user.name));
    if session.out.json {
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "id": key.id, "name": key.name, "organisation_id": key.organisation }))
            .collect();
        session.out.document(&json!({ "disabled": user.disabled_at.is_some(), "id": user.id, "keys": keys }));
    } else {
        dying(&keys, session);
        if yes {
            session.out.line(format_args!("Disabled {name}, and with it {n} keys."));
        } else {
            let next = session.suggestion(&format!("users disable {} --yes", user.id));
            session.out.line(format_args!("{n} keys would die with {name}. Nothing was done.\n\nTo do it\n  {next}"));
        }
    }
    Ok(if yes { Exit::Done } else { Exit::Waiting })
}

async fn list(engine: &Engine, slug: Option<&str>, session: &mut Session<'_>) -> Result<(), Failure> {
    let only = match slug {
        Some(slug) => Some(engine.organisation(slug).await?.row.id),
        None => None,
    };
    let mut users = engine.users().await?;
    users.retain(|u| only.is_none_or(|org| u.user.operator || u.roles.iter().any(|(of, _)| *of == org)));
    let slugs = slugs(engine).await?;
    if session.out.json {
        let users: Vec<Value> = users.iter().map(|user| document(user, &slugs)).collect();
        session.out.document(&json!({ "users": users }));
        return Ok(());
    }
    if users.is_empty() {
        let next = session.suggestion("users create --service --name NAME --org SLUG --role administrator");
        session.out.line(format_args!("There are no users; `{next}` makes one."));
        return Ok(());
    }
    let mut table = Table::new(&["id", "name", "e-mail", "roles", "state"]);
    for listed in &users {
        let user = &listed.user;
        let mut roles: Vec<String> =
            listed.roles.iter().map(|(org, role)| format!("{} {}", name_of(*org, &slugs), role.word())).collect();
        if user.operator {
            roles.insert(0, "operator".to_owned());
        }
        table.row([
            user.id.to_string(),
            user.name.clone(),
            user.email.clone().unwrap_or_else(|| "- (service)".to_owned()),
            if roles.is_empty() { "-".to_owned() } else { roles.join(", ") },
            user.disabled_at.map_or("works".to_owned(), |at| format!("disabled {}", to_the_minute(at))),
        ]);
    }
    table.print(session.out, true);
    Ok(())
}

type Slugs = Vec<(muster_domain::ids::OrganisationId, String)>;

async fn slugs(engine: &Engine) -> Result<Slugs, Failure> {
    Ok(engine.store.organisations().await?.into_iter().map(|row| (row.id, row.slug)).collect())
}

fn name_of(org: muster_domain::ids::OrganisationId, slugs: &Slugs) -> &str {
    slugs.iter().find(|(id, _)| *id == org).map_or("?", |(_, slug)| slug.as_str())
}

fn document(listed: &ListedUser, slugs: &Slugs) -> Value {
    let user = &listed.user;
    let roles: Map<String, Value> =
        listed.roles.iter().map(|(org, role)| (name_of(*org, slugs).to_owned(), json!(role))).collect();
    json!({
        "id": user.id,
        "kind": user.kind,
        "name": user.name,
        "email": user.email,
        "operator": user.operator,
        "roles": roles,
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
    })
}

async fn told(engine: &Engine, user: &User, verb: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let listed = engine.users().await?.into_iter().find(|listed| listed.user.id == user.id);
    let listed = listed.unwrap_or_else(|| ListedUser { user: user.clone(), roles: Vec::new() });
    let slugs = slugs(engine).await?;
    if session.out.json {
        session.out.document(&json!({ "user": document(&listed, &slugs) }));
        return Ok(());
    }
    session.out.line(format_args!("{verb} {} ({}).", one_line(&user.name), user.id));
    for (org, role) in &listed.roles {
        session.out.line(format_args!("  {}: {}", name_of(*org, &slugs), role.word()));
    }
    Ok(())
}
