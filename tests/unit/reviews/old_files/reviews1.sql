-- As the first version wrote it: two users and four entries.
PRAGMA application_id=1986818678;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE journal (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at_utc REAL NOT NULL, body TEXT NOT NULL,
        digest BLOB NOT NULL) STRICT;
INSERT INTO "journal" VALUES(1,'added','anna',1795907576.683,'{"after":"quality","before":null,"by":"root of box","password_sha256":"be95e1463017acb6c9a89dfe643c603050e0431248ec7a64e173776d496a0a1f"}',X'87482A9AB591F0178C7C837D9EC00C00046BFC1252CEB0324C88A018F2BD8AC7');
INSERT INTO "journal" VALUES(2,'added','vera',1795907576.689,'{"after":"viewer","before":null,"by":"root of box","password_sha256":null}',X'D32D355D79E56726EB9F24DB0BD34D299ADF0ABB27C80901D0B1B3EF1862919D');
INSERT INTO "journal" VALUES(3,'role','vera',1795907576.695,'{"after":"reviewer","before":"viewer","by":"anna"}',X'9EA9D447B2C5C844C6D051CCCF39048082085196DB9D6A62954C2616C4C4FE74');
INSERT INTO "journal" VALUES(4,'failures','vera',1795907576.7,'{"by":"192.0.2.7","failures":5}',X'2A42404AD0AB75102BF34A8BADCF78C47BA69DFD30721A665C9D38B0A139B726');
CREATE TABLE users (
        user INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password TEXT,
        credential INTEGER NOT NULL, added_utc REAL NOT NULL) STRICT;
INSERT INTO "users" VALUES(1,'anna','quality','scrypt$256$8$1$19726879e42f1cb36a5b8de87d505acb$ebd7771d06efb6469132d7be2fb0becc8e85d8818b7186ea76fffe01aec4be7b',1,1.79590757668296146392e+09);
INSERT INTO "users" VALUES(2,'vera','reviewer',NULL,2,1.79590757669067049026e+09);
CREATE TRIGGER journal_no_update BEFORE update ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER journal_no_delete BEFORE delete ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
COMMIT;
