//! One connection to the catalog.

use sqlx::{ConnectOptions, PgConnection, Row, SqliteConnection};

use super::{
    address::{Address, Place},
    schema::{
        Dialect, FORGET_VERSION, MAKE_VERSION, POSTGRES, SET_VERSION, SINCE, SQLITE, VERSION,
    },
};

/// An open connection. One whose call failed or was cut short is dropped: what it would say next is unknown.
#[derive(Debug)]
pub(super) enum Link {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

/// The same statement on whichever database.
macro_rules! on {
    ($link:expr, $connection:ident => $call:expr) => {
        match $link {
            Link::Postgres($connection) => {
                let $connection = &mut **$connection;
                $call
            }
            Link::Sqlite($connection) => {
                let $connection = &mut **$connection;
                $call
            }
        }
    };
}

/// How a look at the tables ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    Current,
    Newer { found: i64, known: i64 },
}

/// One row: its number, and the text of its device.
pub(super) type Entry = (i64, String);

impl Link {
    pub(super) async fn open(address: &Address) -> Result<Self, sqlx::Error> {
        let mut link = match &address.place {
            Place::Postgres(options) => Self::Postgres(Box::new(options.connect().await?)),
            Place::Sqlite(options) => Self::Sqlite(Box::new(options.connect().await?)),
        };
        let settle = link.dialect().settle;
        link.run(settle).await?;
        Ok(link)
    }

    fn dialect(&self) -> &'static Dialect {
        match self {
            Self::Postgres(_) => &POSTGRES,
            Self::Sqlite(_) => &SQLITE,
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        on!(self, c => sqlx::raw_sql(sql).execute(c).await.map(|_| ()))
    }

    /// The first number of the first row; 0 if there is none.
    async fn number(&mut self, sql: &'static str) -> Result<i64, sqlx::Error> {
        on!(self, c => match sqlx::query(sql).fetch_optional(c).await? {
            Some(row) => row.try_get(0),
            None => Ok(0),
        })
    }

    /// Makes what is not there yet. Any number of nodes may do it at one time.
    pub(super) async fn migrate(&mut self) -> Result<Schema, sqlx::Error> {
        let dialect = self.dialect();
        let known = i64::try_from(dialect.steps.len()).unwrap_or(i64::MAX);
        // A user who may not make tables can use those that are there.
        if self.number(dialect.is_made).await? > 0 {
            let found = self.number(VERSION).await?;
            if found >= known {
                return Ok(judge(found, known));
            }
        }
        self.run(dialect.begin).await?;
        self.run(MAKE_VERSION).await?;
        let found = self.number(VERSION).await?;
        if found >= known {
            self.run("ROLLBACK").await?;
            return Ok(judge(found, known));
        }
        for step in &dialect.steps[usize::try_from(found).unwrap_or(0)..] {
            self.run(step).await?;
        }
        self.run(FORGET_VERSION).await?;
        on!(self, c => sqlx::query(SET_VERSION).bind(known).execute(c).await.map(|_| ()))?;
        self.run("COMMIT").await?;
        Ok(Schema::Current)
    }

    /// Adds a device; tells whether it was not there.
    pub(super) async fn add(&mut self, member: String, node: &str) -> Result<bool, sqlx::Error> {
        let sql = self.dialect().add;
        let added = on!(self, c => {
            sqlx::query(sql).bind(member).bind(node).execute(c).await?.rows_affected()
        });
        Ok(added > 0)
    }

    /// At most `limit` rows from a number on, by their numbers.
    pub(super) async fn since(&mut self, seq: i64, limit: i64) -> Result<Vec<Entry>, sqlx::Error> {
        on!(self, c => {
            let rows = sqlx::query(SINCE).bind(seq).bind(limit).fetch_all(c).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        })
    }
}

fn judge(found: i64, known: i64) -> Schema {
    if found > known { Schema::Newer { found, known } } else { Schema::Current }
}
