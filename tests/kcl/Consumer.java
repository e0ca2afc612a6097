import java.io.FileOutputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Kinesis Client Library that writes each record that it is given to a file, a line
 * each: shard, sequence number, sub-sequence number, payload. It checkpoints what it has written
 * every so often, so that a killed one leaves some that is written and not checkpointed.
 *
 * <p>Arguments: the application, which is the lease table; the stream; the worker's name; where
 * Kinesis and DynamoDB are; the file; the failover time and the time between checkpoints, in
 * milliseconds. SIGTERM stops it in order: everything that is written is checkpointed then.
 */
public final class Consumer implements ShardRecordProcessor {
    private static OutputStream written;
    private static long checkpointEveryMillis;

    private String shard;
    private long checkpointedAt = System.nanoTime();

    @Override
    public void initialize(InitializationInput input) {
        shard = input.shardId();
        say("begins " + shard + " at " + input.extendedSequenceNumber());
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
        StringBuilder lines = new StringBuilder();
        for (KinesisClientRecord record : input.records()) {
            lines.append(shard).append('\t').append(record.sequenceNumber()).append('\t')
                .append(record.subSequenceNumber()).append('\t')
                .append(StandardCharsets.UTF_8.decode(record.data())).append('\n');
        }
        write(lines.toString());
        long since = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - checkpointedAt);
        if (!input.records().isEmpty() && since >= checkpointEveryMillis) {
            checkpoint(input.checkpointer());
        }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
        say("loses " + shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
        checkpoint(input.checkpointer());
        say("ends " + shard);
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
        checkpoint(input.checkpointer());
    }

    private void checkpoint(RecordProcessorCheckpointer checkpointer) {
        try {
            checkpointer.checkpoint();
            checkpointedAt = System.nanoTime();
        } catch (Exception error) {
            say("could not checkpoint " + shard + ": " + error);
        }
    }

    /** All lines of a batch in one write, before anything of it is checkpointed. */
    private static synchronized void write(String lines) {
        try {
            written.write(lines.getBytes(StandardCharsets.UTF_8));
        } catch (Exception error) {
            // What is not written must not be checkpointed.
            Runtime.getRuntime().halt(1);
        }
    }

    private static void say(String what) {
        System.out.println(System.currentTimeMillis() + " " + what);
    }

    public static void main(String[] arguments) throws Exception {
        String application = arguments[0];
        String stream = arguments[1];
        String worker = arguments[2];
        URI kinesisAddress = URI.create(arguments[3]);
        URI dynamoAddress = URI.create(arguments[4]);
        written = new FileOutputStream(arguments[5], true);
        long failoverMillis = Long.parseLong(arguments[6]);
        checkpointEveryMillis = Long.parseLong(arguments[7]);

        StaticCredentialsProvider credentials =
            StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
            .credentialsProvider(credentials).region(Region.US_EAST_1)
            .endpointOverride(kinesisAddress)
            .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1))
            .build();
        DynamoDbAsyncClient dynamo = DynamoDbAsyncClient.builder()
            .credentialsProvider(credentials).region(Region.US_EAST_1)
            .endpointOverride(dynamoAddress).build();
        // Nothing is sent there.
        CloudWatchAsyncClient cloudWatch = CloudWatchAsyncClient.builder()
            .credentialsProvider(credentials).region(Region.US_EAST_1)
            .endpointOverride(dynamoAddress).build();

        ConfigsBuilder configs = new ConfigsBuilder(
            stream, application, kinesis, dynamo, cloudWatch, worker, Consumer::new);
        InitialPositionInStreamExtended beginning =
            InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        LeaseManagementConfig leases = configs.leaseManagementConfig()
            .initialPositionInStream(beginning)
            .failoverTimeMillis(failoverMillis)
            .shardSyncIntervalMillis(2_000);
        CoordinatorConfig coordinator = configs.coordinatorConfig()
            .parentShardPollIntervalMillis(500)
            .shardConsumerDispatchPollIntervalMillis(200)
            .schedulerInitializationBackoffTimeMillis(200);
        stayCompatible(coordinator);
        var retrieval = configs.retrievalConfig().retrievalSpecificConfig(
            new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(250));
        retrieval.initialPositionInStreamExtended(beginning);

        Scheduler scheduler = new Scheduler(
            configs.checkpointConfig(), coordinator, leases,
            configs.lifecycleConfig().taskBackoffTimeMillis(200),
            configs.metricsConfig().metricsLevel(MetricsLevel.NONE)
                .metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(), retrieval);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                say("stops: " + scheduler.startGracefulShutdown().get(5, TimeUnit.SECONDS));
            } catch (Exception error) {
                say("does not stop: " + error);
            }
        }));
        say("starts");
        scheduler.run();
    }

    /** Version 3 is told to do as version 2 does; version 2 knows of no such thing. */
    private static void stayCompatible(CoordinatorConfig coordinator) throws Exception {
        Class<?> versions;
        try {
            versions = Class.forName(CoordinatorConfig.class.getName() + "$ClientVersionConfig");
        } catch (ClassNotFoundException error) {
            return;
        }
        for (Object version : versions.getEnumConstants()) {
            if (version.toString().equals("CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X")) {
                coordinator.getClass().getMethod("clientVersionConfig", versions)
                    .invoke(coordinator, version);
            }
        }
    }
}
