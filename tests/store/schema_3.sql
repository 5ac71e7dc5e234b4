-- A store as schema 3 left it: never edit, add schema_4.sql beside it.
PRAGMA application_id = 1179340110;
BEGIN TRANSACTION;
CREATE TABLE alert (
        position INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        severity INTEGER NOT NULL,
        tensor,
        onset INTEGER NOT NULL,
        step INTEGER NOT NULL,
        message NOT NULL,
        evidence TEXT NOT NULL,
        segment INTEGER NOT NULL
    );
INSERT INTO "alert" VALUES(1,'NAN',3,'h.0.weight',100,200,'NaN','{"nan": 3}',0);
CREATE TABLE checkpoint (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        segment INTEGER NOT NULL REFERENCES segment (id),
        generation INTEGER NOT NULL,
        step INTEGER NOT NULL,
        version INTEGER NOT NULL,
        path NOT NULL,
        format TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('attempt', 'complete', 'partial', 'failed')),
        reason,
        bytes INTEGER NOT NULL,
        seconds REAL NOT NULL DEFAULT 0,
        seen_at REAL NOT NULL,
        mtime REAL NOT NULL,
        epoch REAL,
        device TEXT NOT NULL,
        skipped INTEGER NOT NULL DEFAULT 0,
        tensors INTEGER NOT NULL DEFAULT 0,
        present INTEGER NOT NULL DEFAULT 1,
        digest TEXT NOT NULL,
        content_digest TEXT NOT NULL,
        kernel TEXT NOT NULL
    );
INSERT INTO "checkpoint" VALUES(1,0,0,100,0,'/run/checkpoint-100','safetensors','complete',NULL,10,1.0,1700000000.0,1.5,0.5,'cpu',0,1,1,'d100','c100','k0');
INSERT INTO "checkpoint" VALUES(2,0,0,200,0,'/run/checkpoint-200','safetensors','complete',NULL,10,1.0,1700000000.0,1.5,0.5,'cpu',1,1,1,'d200','c200','k0');
INSERT INTO "checkpoint" VALUES(3,0,0,300,0,'/run/checkpoint-300','safetensors','failed','truncated',10,0.0,1700000000.0,1.5,0.5,'cpu',0,0,1,'d300','c300','k0');
CREATE TABLE codes (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        body BLOB NOT NULL,
        PRIMARY KEY (checkpoint, tensor)
    );
INSERT INTO "codes" VALUES(1,1,X'0100000000000000000200000078DABB67CFC1CE030005890139');
INSERT INTO "codes" VALUES(2,1,X'0100000000000000000200000078DABB67CFC1CE030005890139');
CREATE TABLE form (
        id INTEGER PRIMARY KEY,
        dtype TEXT NOT NULL,
        shape TEXT NOT NULL,
        UNIQUE (dtype, shape)
    );
INSERT INTO "form" VALUES(1,'bf16','4,5');
INSERT INTO "form" VALUES(2,'','');
CREATE TABLE ignored (
        path PRIMARY KEY,
        reason NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "ignored" VALUES('/run/x','empty');
CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created',1700000000.0);
INSERT INTO "meta" VALUES('kernel','k0');
INSERT INTO "meta" VALUES('name','old run');
INSERT INTO "meta" VALUES('run','/run');
CREATE TABLE metric (
        name NOT NULL,
        position INTEGER NOT NULL,
        step INTEGER NOT NULL,
        value REAL,
        PRIMARY KEY (name, position)
    ) WITHOUT ROWID;
INSERT INTO "metric" VALUES('loss',0,100,2.5);
CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied REAL NOT NULL);
INSERT INTO "migration" VALUES(1,'first_tables',1700000000.0);
INSERT INTO "migration" VALUES(2,'traces',1700000000.0);
INSERT INTO "migration" VALUES(3,'modality_and_motion',1700000000.0);
CREATE TABLE motion (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        "update" REAL,
        drift REAL,
        return_jump REAL,
        PRIMARY KEY (checkpoint, tensor)
    ) WITHOUT ROWID;
INSERT INTO "motion" VALUES(2,1,0.5,0.5,NULL);
CREATE TABLE neighbour (
        checkpoint INTEGER PRIMARY KEY REFERENCES checkpoint (id),
        "before" INTEGER,
        "after" INTEGER,
        "first" INTEGER
    );
INSERT INTO "neighbour" VALUES(2,1,NULL,1);
CREATE TABLE note (
        tensor PRIMARY KEY,
        text NOT NULL
    ) WITHOUT ROWID;
CREATE TABLE quarantine (
        path NOT NULL,
        tensor NOT NULL,
        digest TEXT NOT NULL,
        signal TEXT NOT NULL,
        deaths INTEGER NOT NULL,
        reason NOT NULL,
        PRIMARY KEY (path, tensor)
    ) WITHOUT ROWID;
INSERT INTO "quarantine" VALUES('/run/checkpoint-300','w','d300','SIGSEGV',1,'r');
CREATE TABLE segment (
        id INTEGER PRIMARY KEY,
        generation INTEGER NOT NULL,
        parent INTEGER
    );
INSERT INTO "segment" VALUES(0,0,NULL);
CREATE TABLE skipped (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        position INTEGER NOT NULL,
        name NOT NULL,
        dtype NOT NULL,
        reason NOT NULL,
        PRIMARY KEY (checkpoint, position)
    ) WITHOUT ROWID;
INSERT INTO "skipped" VALUES(2,0,'x','f4','no such type');
CREATE TABLE stat (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        form INTEGER NOT NULL REFERENCES form (id),
        n INTEGER NOT NULL,
        mean REAL,
        std REAL,
        skew REAL,
        kurtosis REAL,
        "min" REAL,
        "max" REAL,
        l1 REAL,
        l2 REAL,
        zeros INTEGER NOT NULL,
        nan INTEGER NOT NULL,
        inf INTEGER NOT NULL,
        quantiles BLOB NOT NULL,
        "distinct" INTEGER,
        modes INTEGER,
        preview INTEGER NOT NULL,
        PRIMARY KEY (checkpoint, tensor)
    ) WITHOUT ROWID;
INSERT INTO "stat" VALUES(1,1,1,20,0.5,1.0,NULL,NULL,-1.0,2.0,3.0,4.0,1,0,0,X'0000000000000000000000000000F03F000000000000004000000000000008400000000000001040000000000000144000000000000018400000000000001C400000000000002040',7,1,0);
INSERT INTO "stat" VALUES(1,2,2,20,0.5,1.0,NULL,NULL,-1.0,2.0,3.0,4.0,1,0,0,X'000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F',NULL,NULL,0);
INSERT INTO "stat" VALUES(2,1,1,20,0.5,1.0,NULL,NULL,-1.0,2.0,3.0,4.0,1,0,0,X'0000000000000000000000000000F03F000000000000004000000000000008400000000000001040000000000000144000000000000018400000000000001C400000000000002040',7,1,0);
INSERT INTO "stat" VALUES(2,2,2,20,0.5,1.0,NULL,NULL,-1.0,2.0,3.0,4.0,1,0,0,X'000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F000000000000F87F',NULL,NULL,0);
CREATE TABLE tensor (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('tensor', 'block')),
        role TEXT NOT NULL,
        form INTEGER NOT NULL REFERENCES form (id),
        born INTEGER NOT NULL,
        UNIQUE (name, kind, role)
    );
INSERT INTO "tensor" VALUES(1,'h.0.weight','tensor','model',1,1);
INSERT INTO "tensor" VALUES(2,'','block','model',2,1);
CREATE TABLE trace (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        hash INTEGER,
        sketch BLOB,
        channels BLOB, modality BLOB,
        PRIMARY KEY (checkpoint, tensor)
    );
INSERT INTO "trace" VALUES(1,1,7,NULL,NULL,NULL);
CREATE UNIQUE INDEX checkpoint_identity ON checkpoint (segment, step, version)
        WHERE status <> 'failed';
CREATE UNIQUE INDEX checkpoint_failed ON checkpoint (path) WHERE status = 'failed';
CREATE INDEX tensor_kind ON tensor (kind);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('checkpoint',3);
INSERT INTO "sqlite_sequence" VALUES('tensor',2);
COMMIT;
