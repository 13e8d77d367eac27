//! Users, and their roles in organisations. Users are above organisations; their roles are not.

use muster_domain::ids::OrganisationId;
use uuid::Uuid;

use super::{Access, AccessTx};
use crate::connect::on;
use crate::error::{Result, StoreError, is_duplicate};

/// A user as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Identity.
    pub id: Uuid,
    /// The e-mail address of a person, in lower case.
    pub email: Option<String>,
    /// The hash of the password, as PHC text.
    pub password: Option<String>,
    /// Everything else.
    pub doc: Vec<u8>,
}

impl std::fmt::Debug for AccountRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountRow({})", self.id)
    }
}

/// A user's role in an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    /// The organisation.
    pub organisation: OrganisationId,
    /// The user.
    pub user: Uuid,
    /// The role's word.
    pub role: String,
}

type Row = (Uuid, Option<String>, Option<String>, Vec<u8>);

fn account_row((id, email, password, doc): Row) -> AccountRow {
    AccountRow { id, email, password, doc }
}

impl Access {
    /// A user.
    pub async fn account(&self, id: Uuid) -> Result<AccountRow> {
        const SQL: &str = "SELECT id, email, password, doc FROM account WHERE id = $1";
        let mut reading = self.reading().await?;
        let row: Option<Row> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(id).fetch_optional(&mut **c).await?);
        row.map(account_row).ok_or(StoreError::NotFound)
    }

    /// The user of an e-mail address, if there is one.
    pub async fn account_of_email(&self, email: &str) -> Result<Option<AccountRow>> {
        const SQL: &str = "SELECT id, email, password, doc FROM account WHERE email = $1";
        let mut reading = self.reading().await?;
        let row: Option<Row> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(email).fetch_optional(&mut **c).await?);
        Ok(row.map(account_row))
    }

    /// All users.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>> {
        const SQL: &str = "SELECT id, email, password, doc FROM account ORDER BY id";
        let mut reading = self.reading().await?;
        let rows: Vec<Row> = on!(&mut reading.conn(), c => sqlx::query_as(SQL).fetch_all(&mut **c).await?);
        Ok(rows.into_iter().map(account_row).collect())
    }

    /// A user's role in an organisation.
    pub async fn role(&self, org: OrganisationId, user: Uuid) -> Result<Option<String>> {
        const SQL: &str = "SELECT role FROM role WHERE org = $1 AND account = $2";
        let mut reading = self.reading().await?;
        Ok(
            on!(&mut reading.conn(), c => sqlx::query_scalar(SQL).bind(org.0).bind(user).fetch_optional(&mut **c).await?),
        )
    }

    /// Who has a role in an organisation.
    pub async fn roles(&self, org: OrganisationId) -> Result<Vec<RoleRow>> {
        const SQL: &str = "SELECT account, role FROM role WHERE org = $1 ORDER BY account";
        let mut reading = self.reading().await?;
        let rows: Vec<(Uuid, String)> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(org.0).fetch_all(&mut **c).await?);
        Ok(rows.into_iter().map(|(user, role)| RoleRow { organisation: org, user, role }).collect())
    }

    /// A user's roles in whatever organisation: users are above organisations.
    pub async fn roles_of_account(&self, user: Uuid) -> Result<Vec<RoleRow>> {
        const SQL: &str = "SELECT org, role FROM role WHERE account = $1 ORDER BY org";
        let mut reading = self.reading().await?;
        let rows: Vec<(Uuid, String)> =
            on!(&mut reading.conn(), c => sqlx::query_as(SQL).bind(user).fetch_all(&mut **c).await?);
        Ok(rows.into_iter().map(|(org, role)| RoleRow { organisation: OrganisationId(org), user, role }).collect())
    }
}

impl AccessTx {
    /// A user, as it is while nobody else can change it.
    pub async fn account(&mut self, id: Uuid) -> Result<AccountRow> {
        const SQL: &str = "SELECT id, email, password, doc FROM account WHERE id = $1";
        let row: Option<Row> = on!(&mut self.conn(), c => sqlx::query_as(SQL).bind(id).fetch_optional(&mut **c).await?);
        row.map(account_row).ok_or(StoreError::NotFound)
    }

    /// Writes a user, new or as it is now; [`StoreError::KeyConflict`] if another has that e-mail address.
    pub async fn put_account(&mut self, account: &AccountRow) -> Result<()> {
        const SQL: &str = "INSERT INTO account (id, email, password, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (id) \
            DO UPDATE SET email = excluded.email, password = excluded.password, doc = excluded.doc";
        let written: Result<()> = on!(&mut self.conn(), c => {
            let query = sqlx::query(SQL).bind(account.id).bind(account.email.as_deref());
            let query = query.bind(account.password.as_deref()).bind(&*account.doc);
            query.execute(&mut **c).await.map(drop).map_err(StoreError::from)
        });
        written.map_err(|e| if is_duplicate(&e) { StoreError::KeyConflict } else { e })
    }

    /// Gives a user a role in this organisation, or takes it away. Says which it was before.
    pub async fn set_role(&mut self, user: Uuid, role: Option<&str>) -> Result<Option<String>> {
        const BEFORE: &str = "SELECT role FROM role WHERE org = $1 AND account = $2";
        const PUT: &str = "INSERT INTO role (org, account, role) VALUES ($1, $2, $3) \
            ON CONFLICT (org, account) DO UPDATE SET role = excluded.role";
        const TAKE: &str = "DELETE FROM role WHERE org = $1 AND account = $2";
        let org = self.org;
        on!(&mut self.conn(), c => {
            let before = sqlx::query_scalar(BEFORE).bind(org.0).bind(user).fetch_optional(&mut **c).await?;
            let query = match role {
                Some(role) => sqlx::query(PUT).bind(org.0).bind(user).bind(role),
                None => sqlx::query(TAKE).bind(org.0).bind(user),
            };
            query.execute(&mut **c).await?;
            Ok(before)
        })
    }
}
