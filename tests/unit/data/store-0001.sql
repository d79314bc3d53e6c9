BEGIN TRANSACTION;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempt (
	replica_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	workload_id VARCHAR NOT NULL, 
	is_live BOOLEAN NOT NULL, 
	doc VARCHAR NOT NULL, 
	PRIMARY KEY (replica_id, number)
);
INSERT INTO "attempt" VALUES('ended-d3bt-0-d3bt',1,'ended-d3bt',0,'{"replica_id":"ended-d3bt-0-d3bt","number":1,"workload_id":"ended-d3bt","node":"node","cpu_cores":1,"memory_mib":4096,"generation":1,"gpu_uuids":[],"state":"ended","exit_code":0,"reason":"Completed","message":"ended with exit code 0","placed_at_ms":1795250334239,"started_at_ms":1795250334323,"finished_at_ms":1795250334327,"next_try_ms":0,"failures":0}');
INSERT INTO "attempt" VALUES('failed-m0g4-0-m0g4',1,'failed-m0g4',0,'{"replica_id":"failed-m0g4-0-m0g4","number":1,"workload_id":"failed-m0g4","node":"node","cpu_cores":1,"memory_mib":4096,"generation":1,"gpu_uuids":[],"state":"ended","exit_code":3,"reason":"Error","message":"ended with exit code 3","placed_at_ms":1795250334262,"started_at_ms":1795250334351,"finished_at_ms":1795250334353,"next_try_ms":0,"failures":0}');
INSERT INTO "attempt" VALUES('waits-snlb-0-snlb',1,'waits-snlb',0,'{"replica_id":"waits-snlb-0-snlb","number":1,"workload_id":"waits-snlb","node":"node","cpu_cores":2.0,"memory_mib":24105,"generation":1,"gpu_uuids":["GPU-simulated-h100-80gb-00","GPU-simulated-h100-80gb-01"],"state":"ended","exit_code":0,"reason":"Completed","message":"ended with exit code 0","placed_at_ms":1795250334320,"started_at_ms":1795250334410,"finished_at_ms":1795250335413,"next_try_ms":0,"failures":0}');
INSERT INTO "attempt" VALUES('gone-8cgl-0-8cgl',1,'gone-8cgl',0,'{"replica_id":"gone-8cgl-0-8cgl","number":1,"workload_id":"gone-8cgl","node":"node","cpu_cores":1,"memory_mib":4096,"generation":1,"gpu_uuids":[],"state":"ended","exit_code":143,"reason":"Stopped","message":"ended with exit code 143 after a request to stop","placed_at_ms":1795250334364,"started_at_ms":1795250334436,"finished_at_ms":1795250338381,"next_try_ms":0,"failures":0}');
CREATE TABLE event (
	seq INTEGER NOT NULL, 
	workload_id VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	last_ms INTEGER NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "event" VALUES(1,'ended-d3bt','Normal','Created','job ended-d3bt was created by admin@homeport.local',1,1795250334215);
INSERT INTO "event" VALUES(2,'ended-d3bt','Normal','Scheduled','ended-d3bt-0-d3bt goes to node',1,1795250334239);
INSERT INTO "event" VALUES(3,'failed-m0g4','Normal','Created','job failed-m0g4 was created by admin@homeport.local',1,1795250334254);
INSERT INTO "event" VALUES(4,'failed-m0g4','Normal','Scheduled','failed-m0g4-0-m0g4 goes to node',1,1795250334262);
INSERT INTO "event" VALUES(5,'waits-snlb','Normal','Created','job waits-snlb was created by admin@homeport.local',1,1795250334302);
INSERT INTO "event" VALUES(6,'waits-snlb','Normal','Scheduled','waits-snlb-0-snlb goes to node',1,1795250334320);
INSERT INTO "event" VALUES(7,'gone-8cgl','Normal','Created','job gone-8cgl was created by admin@homeport.local',1,1795250334346);
INSERT INTO "event" VALUES(8,'ended-d3bt','Normal','Completed','ended with exit code 0',1,1795250334351);
INSERT INTO "event" VALUES(9,'gone-8cgl','Normal','Scheduled','gone-8cgl-0-8cgl goes to node',1,1795250334364);
INSERT INTO "event" VALUES(10,'failed-m0g4','Warning','Error','ended with exit code 3',1,1795250334377);
INSERT INTO "event" VALUES(11,'waits-snlb','Normal','Started','container hp-a70cb45c-waits-snlb-0-snlb-1 is running on node',1,1795250334414);
INSERT INTO "event" VALUES(12,'gone-8cgl','Normal','Started','container hp-a70cb45c-gone-8cgl-0-8cgl-1 is running on node',1,1795250334449);
INSERT INTO "event" VALUES(13,'waits-snlb','Normal','Completed','ended with exit code 0',1,1795250335446);
INSERT INTO "event" VALUES(14,'gone-8cgl','Normal','DeleteRequested','asked for through the API: DeleteRequested',1,1795250338370);
INSERT INTO "event" VALUES(15,'gone-8cgl','Normal','Stopped','ended with exit code 143 after a request to stop',1,1795250338399);
INSERT INTO "event" VALUES(16,'gone-8cgl','Normal','Archived','its containers are gone; spec and log are kept',1,1795250338451);
CREATE TABLE gpu_lease (
	gpu_uuid VARCHAR NOT NULL, 
	replica_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (gpu_uuid)
);
CREATE TABLE setting (
	name VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "setting" VALUES('instance','a70cb45c');
INSERT INTO "setting" VALUES('created_at_ms','1795250334085');
CREATE TABLE token (
	sha256 VARCHAR NOT NULL, 
	workspace VARCHAR NOT NULL, 
	prefix VARCHAR NOT NULL, 
	suffix VARCHAR NOT NULL, 
	owner VARCHAR NOT NULL, 
	expires_at_ms INTEGER NOT NULL, 
	PRIMARY KEY (sha256)
);
CREATE TABLE workload (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	workspace VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	phase VARCHAR NOT NULL, 
	is_archived BOOLEAN NOT NULL, 
	revision INTEGER NOT NULL, 
	doc VARCHAR NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "workload" VALUES(1,'ended-d3bt','local','ended','completed',0,3,'{"id":"ended-d3bt","workspace":"local","name":"ended","kind":"job","owner":"admin@homeport.local","created_at_ms":1795250334215,"spec":{"image":"any:1","command":["/bin/bash","-c","echo one; echo two"],"shape":"cpu.small","cpu_cores":1,"memory_mib":4096,"env":[["A","b"]],"gpu_count":0,"gpu_product":null,"shm_mib":null,"priority":67,"node_groups":[],"nodes":[],"is_stopped":false,"extras":{"spec":{"resource_shape":"cpu.small","container":{"image":"any:1","command":["/bin/bash","-c","echo one; echo two"]},"envs":[{"name":"A","value":"b"}],"ttl_seconds_after_finished":1000000000},"metadata":{"id":"ended"}}},"generation":1,"first_attempt":1,"is_deleting":false,"archived_at_ms":null}');
INSERT INTO "workload" VALUES(2,'failed-m0g4','local','failed','failed',0,3,'{"id":"failed-m0g4","workspace":"local","name":"failed","kind":"job","owner":"admin@homeport.local","created_at_ms":1795250334254,"spec":{"image":"any:1","command":["/bin/bash","-c","exit 3"],"shape":"cpu.small","cpu_cores":1,"memory_mib":4096,"env":[],"gpu_count":0,"gpu_product":null,"shm_mib":null,"priority":67,"node_groups":[],"nodes":[],"is_stopped":false,"extras":{"spec":{"resource_shape":"cpu.small","container":{"image":"any:1","command":["/bin/bash","-c","exit 3"]}},"metadata":{"id":"failed"}}},"generation":1,"first_attempt":1,"is_deleting":false,"archived_at_ms":null}');
INSERT INTO "workload" VALUES(3,'waits-snlb','local','waits','completed',0,4,'{"id":"waits-snlb","workspace":"local","name":"waits","kind":"job","owner":"admin@homeport.local","created_at_ms":1795250334302,"spec":{"image":"any:1","command":["/bin/bash","-c","sleep 1"],"shape":"gpu.2xh100-sxm","cpu_cores":2.0,"memory_mib":24105,"env":[],"gpu_count":2,"gpu_product":"NVIDIA H100-80GB","shm_mib":null,"priority":67,"node_groups":[],"nodes":[],"is_stopped":false,"extras":{"spec":{"resource_shape":"gpu.2xh100-sxm","container":{"image":"any:1","command":["/bin/bash","-c","sleep 1"]}},"metadata":{"id":"waits"}}},"generation":1,"first_attempt":1,"is_deleting":false,"archived_at_ms":null}');
INSERT INTO "workload" VALUES(4,'gone-8cgl','local','gone','archived',1,6,'{"id":"gone-8cgl","workspace":"local","name":"gone","kind":"job","owner":"admin@homeport.local","created_at_ms":1795250334346,"spec":{"image":"any:1","command":["/bin/bash","-c","sleep 100"],"shape":"cpu.small","cpu_cores":1,"memory_mib":4096,"env":[],"gpu_count":0,"gpu_product":null,"shm_mib":null,"priority":67,"node_groups":[],"nodes":[],"is_stopped":false,"extras":{"spec":{"resource_shape":"cpu.small","container":{"image":"any:1","command":["/bin/bash","-c","sleep 100"]}},"metadata":{"id":"gone"}}},"generation":1,"first_attempt":1,"is_deleting":true,"archived_at_ms":1795250338451}');
CREATE INDEX ix_workload_phase ON workload (phase);
CREATE INDEX ix_workload_is_archived ON workload (is_archived);
CREATE INDEX ix_attempt_is_live ON attempt (is_live);
CREATE INDEX ix_attempt_workload_id ON attempt (workload_id);
CREATE INDEX ix_event_workload_id ON event (workload_id);
COMMIT;
